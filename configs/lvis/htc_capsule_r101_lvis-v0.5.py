_base_ = './htc_baseline_r101_lvis-v0.5.py'
model = dict(
    roi_head=dict(type='mmcausal.TDEHybridTaskCascadeRoIHead', classifier=dict(normalizer='capsule', num_heads=1)))
custom_hooks = [*_base_.custom_hooks, _base_.head_direction_hook]
