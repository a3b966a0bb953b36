# Fine-tuning from a ResNet-152 of your own. Not the paper's: our recipe, not yet run in full
_base_ = [
    'mmpretrain::_base_/models/resnet152.py',
    '../_base_/datasets/places_lt.py',
    '../_base_/schedules/imagenet_90e.py',
    '../_base_/default_runtime.py',
]
init_cfg = dict(type='Pretrained', checkpoint='data/weights/resnet152.pth', prefix='backbone')
model = dict(backbone=dict(init_cfg=init_cfg), head=dict(num_classes=365, init_cfg=None))
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = dict(T_max=30)
train_cfg = dict(max_epochs=30)
