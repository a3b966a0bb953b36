_base_ = './linear_r32.py'
model = dict(head=dict(type='mmcausal.DeconfoundHead'))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.HeadDirectionHook')]
