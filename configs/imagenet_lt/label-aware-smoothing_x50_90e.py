_base_ = './linear_x50_90e.py'
model = dict(head=dict(loss=dict(_delete_=True, type='mmcausal.LabelAwareSmoothingLoss', head=0.3, tail=0.)))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.ClassPriorHook')]
