# Photos, from MMPretrain's weights for ImageNet
_base_ = [
    'mmpretrain::_base_/models/vit-base-p16.py',
    '../_base_/datasets/own_folder.py',
    '../_base_/schedules/fine-tune_30e_adamw.py',
    '../_base_/default_runtime.py',
]
checkpoint = 'https://download.openmmlab.com/mmclassification/v0/vit/finetune/vit-base-p16_in21k-pre-3rdparty_ft-64xb64_in1k-384_20210928-98e8652b.pth'
init_cfg = dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone')
loss = dict(type='CrossEntropyLoss')
head = dict(_delete_=True, type='LinearClsHead', num_classes=1000, in_channels=768, loss=loss, init_cfg=None)
model = dict(backbone=dict(drop_rate=0., init_cfg=dict(_delete_=True, **init_cfg)), head=head)
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
