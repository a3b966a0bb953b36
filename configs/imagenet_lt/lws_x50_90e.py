_base_ = './linear_x50_90e.py'
load_from = 'work_dirs/linear_x50_90e/epoch_90.pth'
model = dict(
    type='mmcausal.StageTwoClassifier',
    head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.LWSLinear')))
train_dataloader = dict(sampler=dict(_delete_=True, type='mmcausal.ClassPowerSampler'))
train_cfg = dict(max_epochs=5)
param_scheduler = dict(T_max=5)
