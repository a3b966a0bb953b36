_base_ = './linear_x50_90e.py'
model = dict(head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.TDELinear')))
