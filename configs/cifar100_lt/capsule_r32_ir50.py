_base_ = './linear_r32_ir50.py'
model = dict(head=dict(type='mmcausal.DeconfoundHead', normalizer='capsule'))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.HeadDirectionHook')]
