_base_ = './cascade_baseline_r50.py'
model = dict(roi_head=dict(type='mmcausal.TDECascadeRoIHead', classifier=dict()))
custom_hooks = [*_base_.custom_hooks, _base_.head_direction_hook]
