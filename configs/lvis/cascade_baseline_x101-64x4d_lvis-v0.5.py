_base_ = './cascade_baseline_r101_lvis-v0.5.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=64,
        base_width=4,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnext101_64x4d')))
