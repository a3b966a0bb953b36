_base_ = './linear_x50_90e.py'
load_from = 'work_dirs/linear_x50_90e/epoch_90.pth'
model = dict(
    type='mmcausal.FineTunedClassifier', neck=None, head=dict(type='mmcausal.OLTRHead', places=49))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.ClassMeansHook')]
train_dataloader = dict(sampler=dict(_delete_=True, type='mmcausal.ClassPowerSampler'))
optim_wrapper = dict(optimizer=dict(lr=0.02))
train_cfg = dict(max_epochs=10)
param_scheduler = dict(T_max=10)
