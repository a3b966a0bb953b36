_base_ = './linear_r32_ir100.py'
model = dict(train_cfg=dict(augments=[dict(type='CutMix', alpha=1.)]))
