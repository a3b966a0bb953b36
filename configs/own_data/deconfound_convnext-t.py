_base_ = './linear_convnext-t.py'
model = dict(head=dict(type='mmcausal.DeconfoundHead'))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.HeadDirectionHook')]
