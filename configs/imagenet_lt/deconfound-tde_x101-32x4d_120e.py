_base_ = './linear_x101-32x4d_120e.py'
model = dict(head=dict(type='mmcausal.DeconfoundHead', num_heads=4, gamma=1 / 64, alpha=3.0))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.HeadDirectionHook')]
