_base_ = './ldam-drw_r32_ir100.py'
# Network and recipe of LDAM's authors, Cao et al., NeurIPS 2019
model = dict(backbone=dict(last_blocks=1), head=dict(in_channels=64))
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=2e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 5, end=5),
    dict(type='MultiStepLR', milestones=[160, 180], gamma=0.01),
]
custom_hooks = [*_base_.custom_hooks[:-1], dict(type='mmcausal.DeferredReweightingHook', begin=160)]
auto_scale_lr = dict(base_batch_size=128)
