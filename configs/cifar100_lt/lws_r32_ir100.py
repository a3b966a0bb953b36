_base_ = './linear_r32_ir100.py'
load_from = 'work_dirs/linear_r32_ir100/epoch_200.pth'
model = dict(
    type='mmcausal.StageTwoClassifier',
    head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.LWSLinear')))
train_dataloader = dict(sampler=dict(_delete_=True, type='mmcausal.ClassPowerSampler'))
train_cfg = dict(max_epochs=5)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=5, convert_to_iter_based=True)]
