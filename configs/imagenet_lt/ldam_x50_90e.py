_base_ = './linear_x50_90e.py'
scale = 30.
model = dict(
    head=dict(
        type='mmcausal.DeconfoundHead',
        normalizer='cosine',
        num_heads=1,
        tau=scale,
        init_length=1.,  # as in the source
        loss=dict(_delete_=True, type='mmcausal.LDAMLoss', scale=scale)))
custom_hooks = [*_base_.custom_hooks, dict(type='mmcausal.ClassPriorHook')]
