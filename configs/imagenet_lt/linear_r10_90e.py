_base_ = './linear_x50_90e.py'
model = dict(
    backbone=dict(_delete_=True, type='mmcausal.ResNet10', out_indices=(3, ), zero_init_residual=False),
    head=dict(in_channels=512))
