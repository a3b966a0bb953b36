# The same with masks
_base_ = './own_coco_boxes.py'
annotations = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
train_pipeline = [annotations if step.type == 'LoadAnnotations' else step for step in _base_.train_pipeline]
test_pipeline = [annotations if step.type == 'LoadAnnotations' else step for step in _base_.test_pipeline]
tta_pipeline = test_pipeline
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_evaluator = test_evaluator = dict(metric=['bbox', 'segm'])
