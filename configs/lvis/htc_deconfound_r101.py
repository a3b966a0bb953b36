_base_ = './htc_baseline_r101.py'
model = dict(roi_head=dict(type='mmcausal.TDEHybridTaskCascadeRoIHead', classifier=dict()))
custom_hooks = [*_base_.custom_hooks, _base_.head_direction_hook]
