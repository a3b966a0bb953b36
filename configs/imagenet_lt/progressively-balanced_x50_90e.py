_base_ = './linear_x50_90e.py'
train_dataloader = dict(sampler=dict(
    _delete_=True, type='mmcausal.ProgressivelyBalancedSampler', max_epochs=_base_.train_cfg.max_epochs))
