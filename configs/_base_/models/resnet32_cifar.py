model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmcausal.ResNet32'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=100,
        in_channels=128,
        loss=dict(type='CrossEntropyLoss'),
        # PyTorch's own initialisation, U(-1/sqrt(D), 1/sqrt(D)), as the authors
        init_cfg=None))
