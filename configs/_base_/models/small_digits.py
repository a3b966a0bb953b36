model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmcausal.SmallConvNet', in_channels=1),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=256,
        loss=dict(type='CrossEntropyLoss'),
        # PyTorch's own initialisation, U(-1/sqrt(D), 1/sqrt(D))
        init_cfg=None))
