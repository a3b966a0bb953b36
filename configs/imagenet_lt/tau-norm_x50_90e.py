_base_ = './linear_x50_90e.py'
# At test time alone: test a checkpoint of the linear config with it
model = dict(
    head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.TauNormLinear', exponent=0.7)))
