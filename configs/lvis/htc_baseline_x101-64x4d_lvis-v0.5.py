_base_ = './htc_baseline_r101_lvis-v0.5.py'
model = dict(
    backbone=dict(
        type='ResNeXt',
        groups=64,
        base_width=4,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnext101_64x4d')))
# As the authors' config of this network, which is for 16 GPUs with one image each
optim_wrapper = dict(optimizer=dict(lr=0.01))
