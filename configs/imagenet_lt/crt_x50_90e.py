_base_ = './linear_x50_90e.py'
load_from = 'work_dirs/linear_x50_90e/epoch_90.pth'
model = dict(type='mmcausal.StageTwoClassifier')
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.RestartClassifierHook')]
train_dataloader = dict(sampler=dict(_delete_=True, type='mmcausal.ClassPowerSampler'))
train_cfg = dict(max_epochs=10)
param_scheduler = dict(T_max=10)
