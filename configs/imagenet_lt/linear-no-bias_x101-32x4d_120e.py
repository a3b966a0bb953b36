_base_ = './linear_x101-32x4d_120e.py'
model = dict(head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.TDELinear')))
