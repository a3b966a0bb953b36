_base_ = './linear_r32_ir100.py'
# At test time alone: test a checkpoint of the linear config with it
model = dict(
    head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.TauNormLinear', exponent=0.7)))
