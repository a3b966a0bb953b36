_base_ = './cascade_baseline_x101-64x4d_lvis-v0.5.py'
model = dict(roi_head=dict(type='mmcausal.TDECascadeRoIHead', classifier=dict()))
custom_hooks = [*_base_.custom_hooks, _base_.head_direction_hook]
