_base_ = './htc_baseline_x101-64x4d_lvis-v0.5.py'
model = dict(roi_head=dict(type='mmcausal.TDEHybridTaskCascadeRoIHead', classifier=dict(alpha=1.5)))
custom_hooks = [*_base_.custom_hooks, _base_.head_direction_hook]
