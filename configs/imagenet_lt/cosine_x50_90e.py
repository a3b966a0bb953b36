_base_ = './linear_x50_90e.py'
model = dict(head=dict(type='mmcausal.DeconfoundHead', normalizer='cosine', num_heads=1))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.HeadDirectionHook')]
