_base_ = './mask-rcnn_baseline_r50_lvis-v0.5.py'
model = dict(roi_head=dict(type='mmcausal.TDEStandardRoIHead', classifier=dict(alpha=1.5)))
custom_hooks = [*_base_.custom_hooks, _base_.head_direction_hook]
