_base_ = './cascade_baseline_r101.py'
# Multi-scale training as in the host: the shorter side is drawn from 640 to 800
many_scales = dict(type='RandomChoiceResize', scales=[(1333, side) for side in range(640, 801, 32)], keep_ratio=True)
train_pipeline = [many_scales if step.type == 'Resize' else step for step in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
