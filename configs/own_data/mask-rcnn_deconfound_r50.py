_base_ = './mask-rcnn_baseline_r50.py'
model = dict(roi_head=dict(type='mmcausal.TDEStandardRoIHead', classifier=dict()))
custom_hooks = [*_base_.custom_hooks, _base_.head_direction_hook]
