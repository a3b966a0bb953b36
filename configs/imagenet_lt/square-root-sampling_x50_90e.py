_base_ = './linear_x50_90e.py'
train_dataloader = dict(sampler=dict(_delete_=True, type='mmcausal.ClassPowerSampler', power=0.5))
