_base_ = './linear_r32_ir100.py'
model = dict(head=dict(loss=dict(_delete_=True, type='mmcausal.LabelAwareSmoothingLoss', head=0.3, tail=0.)))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.ClassPriorHook')]
