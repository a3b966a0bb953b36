_base_ = './cascade_baseline_r101_ms.py'
model = dict(roi_head=dict(type='mmcausal.TDECascadeRoIHead', classifier=dict(alpha=1.5)))
custom_hooks = [*_base_.custom_hooks, _base_.head_direction_hook]
