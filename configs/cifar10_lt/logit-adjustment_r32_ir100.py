_base_ = './linear_r32_ir100.py'
# At test time alone: it tests a checkpoint of the linear config, too
model = dict(head=dict(type='mmcausal.ClassifierHead', classifier=dict(type='mmcausal.LogitAdjustedLinear')))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.ClassPriorHook')]
