dataset_type = 'mmcausal.LongTailedDigits'
data_preprocessor = dict(num_classes=10, mean=[127.5], std=[127.5], to_rgb=False)
pipeline = [dict(type='PackInputs')]
tta_pipeline = pipeline

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(type=dataset_type, split='train', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(type=dataset_type, split='val', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = dict(
    batch_size=500,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(type=dataset_type, split='test', pipeline=pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False))

# Training images per class: 100, 59, 35, 21, 12 | 7, 4, 2, 1, 1
val_evaluator = [
    dict(type='Accuracy', topk=(1, )),
    dict(type='mmcausal.ShotAccuracy', many=30, few=5, classwise=True),
]
test_evaluator = val_evaluator
