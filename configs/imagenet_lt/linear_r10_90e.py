_base_ = './linear_x50_90e.py'
model = dict(backbone=dict(_delete_=True, type='mmcausal.ResNet10', out_indices=(3, )), head=dict(in_channels=512))
