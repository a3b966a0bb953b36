_base_ = './linear_r32_ir50.py'
model = dict(train_cfg=dict(augments=[dict(type='Mixup', alpha=1.)]))
