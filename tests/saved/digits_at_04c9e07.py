custom_hooks = [
    dict(type='ClassNumCheckHook'),
    dict(type='mmcausal.ChannelsLastHook'),
    dict(type='mmcausal.HeadDirectionHook'),
]
data_preprocessor = dict(
    mean=[
        127.5,
    ], num_classes=10, std=[
        127.5,
    ], to_rgb=False)
dataset_type = 'mmcausal.LongTailedDigits'
default_hooks = dict(
    checkpoint=dict(
        _scope_='mmpretrain',
        interval=10,
        max_keep_ckpts=2,
        type='CheckpointHook'),
    logger=dict(_scope_='mmpretrain', interval=100, type='LoggerHook'),
    param_scheduler=dict(_scope_='mmpretrain', type='ParamSchedulerHook'),
    sampler_seed=dict(_scope_='mmpretrain', type='DistSamplerSeedHook'),
    timer=dict(_scope_='mmpretrain', type='IterTimerHook'),
    visualization=dict(
        _scope_='mmpretrain', enable=False, type='VisualizationHook'))
default_scope = 'mmpretrain'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
experiment_name = 'fixture'
load_from = None
log_level = 'INFO'
model = dict(
    backbone=dict(
        channels=[
            16,
            16,
            32,
        ], in_channels=1, type='mmcausal.SmallConvNet'),
    head=dict(
        alpha=1.0,
        in_channels=32,
        init_cfg=None,
        loss=dict(type='CrossEntropyLoss'),
        num_classes=10,
        type='mmcausal.DeconfoundHead'),
    neck=dict(type='GlobalAveragePooling'),
    type='ImageClassifier')
optim_wrapper = dict(
    optimizer=dict(lr=0.1, momentum=0.9, type='SGD', weight_decay=0.0005))
param_scheduler = dict(
    T_max=60, convert_to_iter_based=True, type='CosineAnnealingLR')
pipeline = [
    dict(type='PackInputs'),
]
randomness = dict(deterministic=False, seed=0)
resume = False
test_cfg = dict()
test_dataloader = dict(
    batch_size=500,
    dataset=dict(
        imbalance_ratio=100,
        pipeline=[
            dict(type='PackInputs'),
        ],
        split='test',
        type='mmcausal.LongTailedDigits'),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = [
    dict(topk=(1, ), type='Accuracy'),
    dict(classwise=True, few=5, many=30, type='mmcausal.ShotAccuracy'),
]
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=3)
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        imbalance_ratio=100,
        pipeline=[
            dict(type='PackInputs'),
        ],
        split='train',
        type='mmcausal.LongTailedDigits'),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=True, type='DefaultSampler'))
tta_model = dict(alpha='auto', type='mmcausal.TDEClassifierTTA')
tta_pipeline = [
    dict(type='PackInputs'),
]
val_cfg = dict()
val_dataloader = dict(
    batch_size=500,
    dataset=dict(
        imbalance_ratio=100,
        pipeline=[
            dict(type='PackInputs'),
        ],
        split='val',
        type='mmcausal.LongTailedDigits'),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = [
    dict(topk=(1, ), type='Accuracy'),
    dict(classwise=True, few=5, many=30, type='mmcausal.ShotAccuracy'),
]
vis_backends = [
    dict(_scope_='mmpretrain', type='LocalVisBackend'),
]
visualizer = dict(
    _scope_='mmpretrain',
    type='UniversalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = 'work_dirs/saved'
