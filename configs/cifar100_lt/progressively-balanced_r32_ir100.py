_base_ = './linear_r32_ir100.py'
train_dataloader = dict(sampler=dict(
    _delete_=True, type='mmcausal.ProgressivelyBalancedSampler', max_epochs=_base_.train_cfg.max_epochs))
