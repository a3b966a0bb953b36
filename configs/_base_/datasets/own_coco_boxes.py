# Images and annotations of your own in COCO format
_base_ = 'mmdet::_base_/datasets/coco_detection.py'
data_root = 'data/own/'
files = dict(data_root=data_root, data_prefix=dict(img='images/'))
train_dataloader = dict(dataset=dict(ann_file='train.json', **files))
val_dataloader = dict(dataset=dict(ann_file='val.json', **files))
test_dataloader = dict(dataset=dict(ann_file='test.json', **files))
metric = dict(type='mmcausal.CocoMetric', train_ann_file=data_root + 'train.json')
val_evaluator = dict(ann_file=data_root + 'val.json', **metric)
test_evaluator = dict(ann_file=data_root + 'test.json', **metric)
tta_pipeline = _base_.test_pipeline
