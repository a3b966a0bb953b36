_base_ = 'mmdet::_base_/datasets/lvis_v0.5_instance.py'

# Without the host's repeat-factor sampling (ClassBalancedDataset), as the paper
train_dataloader = dict(
    dataset=dict(_delete_=True, **{**_base_.train_dataloader.dataset.dataset, 'type': 'mmcausal.LVISV05Dataset'}))
val_dataloader = dict(dataset=dict(type='mmcausal.LVISV05Dataset'))
test_dataloader = val_dataloader

val_evaluator = dict(type='mmcausal.LVISMetric')
test_evaluator = val_evaluator

tta_pipeline = _base_.test_pipeline
