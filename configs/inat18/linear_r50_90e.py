# Not the paper's: the recipe of ImageNet-LT with the weight decay usual for iNaturalist, not yet run in full
_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    '../_base_/datasets/inat18.py',
    '../_base_/schedules/imagenet_90e.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(zero_init_residual=False), head=dict(num_classes=8142, init_cfg=None))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
