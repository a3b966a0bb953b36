_base_ = './linear_r32_ir100.py'
model = dict(head=dict(type='mmcausal.DeconfoundHead', normalizer='capsule', num_heads=1))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.HeadDirectionHook')]
