_base_ = './linear_x50_90e.py'
model = dict(train_cfg=dict(augments=[dict(type='Mixup', alpha=1.)]))
