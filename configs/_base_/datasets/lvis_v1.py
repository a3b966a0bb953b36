_base_ = 'mmdet::_base_/datasets/lvis_v1_instance.py'

# As the authors: images at one scale, and without the host's repeat-factor sampling (ClassBalancedDataset)
one_scale = dict(type='Resize', scale=(1333, 800), keep_ratio=True)
train_pipeline = [one_scale if step.type == 'RandomChoiceResize' else step for step in _base_.train_pipeline]
train_dataloader = dict(
    dataset=dict(_delete_=True, **{**_base_.train_dataloader.dataset.dataset, 'type': 'mmcausal.LVISV1Dataset',
                                   'pipeline': train_pipeline}))
val_dataloader = dict(dataset=dict(type='mmcausal.LVISV1Dataset'))
test_dataloader = val_dataloader

val_evaluator = dict(type='mmcausal.LVISMetric')
test_evaluator = val_evaluator

tta_pipeline = _base_.test_pipeline
