_base_ = './ldam_r32_ir10.py'
model = dict(
    head=dict(loss=dict(_delete_=True, type='mmcausal.DeferredReweightingLoss', loss=_base_.model.head.loss)))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.DeferredReweightingHook', begin=120)]
