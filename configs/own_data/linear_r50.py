# Photos, from MMPretrain's weights for ImageNet
_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    '../_base_/datasets/own_folder.py',
    '../_base_/schedules/fine-tune_30e.py',
    '../_base_/default_runtime.py',
]
checkpoint = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'
init_cfg = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone')
model = dict(backbone=dict(init_cfg=init_cfg), head=dict(init_cfg=None))
