# Photos, from MMPretrain's weights for ImageNet
_base_ = [
    'mmpretrain::_base_/models/convnext/convnext-tiny.py',
    '../_base_/datasets/own_folder.py',
    '../_base_/schedules/fine-tune_30e_adamw.py',
    '../_base_/default_runtime.py',
]
checkpoint = 'https://download.openmmlab.com/mmclassification/v0/convnext/convnext-tiny_32xb128_in1k_20221207-998cf3e9.pth'
init_cfg = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone')
loss = dict(type='CrossEntropyLoss')
# The host's label smoothing, Mixup and CutMix are for trainings from scratch
model = dict(backbone=dict(init_cfg=init_cfg), head=dict(loss=dict(_delete_=True, **loss)), init_cfg=None, train_cfg=None)
