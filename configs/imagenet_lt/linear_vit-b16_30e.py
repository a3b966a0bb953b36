# Fine-tuning from a checkpoint of your own. Not the paper's: our recipe, not yet run in full
_base_ = './linear_x50_90e.py'
init_cfg = dict(type='Pretrained', checkpoint='data/weights/vit-b16.pth', prefix='backbone')
model = dict(
    backbone=dict(_delete_=True, type='VisionTransformer', arch='b', img_size=224, patch_size=16, init_cfg=init_cfg),
    neck=None,
    head=dict(in_channels=768))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05))
param_scheduler = dict(T_max=30)
train_cfg = dict(max_epochs=30)
