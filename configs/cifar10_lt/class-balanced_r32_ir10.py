_base_ = './linear_r32_ir10.py'
model = dict(head=dict(loss=dict(_delete_=True, type='mmcausal.ClassBalancedLoss', loss=dict(type='CrossEntropyLoss'))))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.ClassPriorHook')]
