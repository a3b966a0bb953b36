_base_ = './linear_x50_90e.py'
load_from = 'work_dirs/linear_x50_90e/epoch_90.pth'
model = dict(
    type='mmcausal.StageTwoClassifier',
    head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.NCMLinear')))
train_cfg = dict(_delete_=True, type='mmcausal.ClassMeansLoop')
train_dataloader = dict(
    drop_last=False, dataset=dict(pipeline=_base_.test_pipeline), sampler=dict(shuffle=False, round_up=False))
