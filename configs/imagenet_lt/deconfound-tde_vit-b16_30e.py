_base_ = './linear_vit-b16_30e.py'
model = dict(head=dict(type='mmcausal.DeconfoundHead', alpha=3.0))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.HeadDirectionHook')]
