_base_ = './focal_r32_ir100.py'
model = dict(
    head=dict(loss=dict(_delete_=True, type='mmcausal.ClassBalancedLoss', loss=_base_.model.head.loss, beta=0.9999)))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.ClassPriorHook')]
