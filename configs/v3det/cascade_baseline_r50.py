_base_ = 'mmdet::v3det/cascade_rcnn_r50_fpn_8x4_sample1e-3_mstrain_v3det_2x.py'
# As MMDetection's config, except for the classifiers: plain ones with a softmax instead of normalised ones with sigmoids
box_head = dict(
    type='Shared2FCBBoxHead',
    in_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=13204,
    reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', loss_weight=1.0),
    loss_bbox=dict(type='L1Loss', loss_weight=1.0))
model = dict(
    roi_head=dict(bbox_head=[
        dict(box_head, bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.], target_stds=stds))
        for stds in ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
    ]))
val_evaluator = dict(type='mmcausal.CocoMetric', train_ann_file='data/V3Det/annotations/v3det_2023_v1_train.json')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(type='mmcausal.CheckpointHook'))
custom_hooks = [dict(type='mmcausal.DetectorCheckHook')]
# For the configs with de-confounding, as in configs/lvis
head_direction_hook = dict(type='mmcausal.HeadDirectionHook', momentum=0.9998)
