_base_ = './linear_x50_90e.py'
model = dict(backbone=dict(depth=101))
param_scheduler = dict(T_max=120)
train_cfg = dict(max_epochs=120)
