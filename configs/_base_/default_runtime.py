_base_ = 'mmpretrain::_base_/default_runtime.py'

custom_hooks = [
    dict(type='ClassNumCheckHook'),
    dict(type='mmcausal.CheckpointCheckHook'),
    dict(type='mmcausal.ChannelsLastHook'),
]
default_hooks = dict(checkpoint=dict(type='mmcausal.CheckpointHook', interval=10, max_keep_ckpts=2))

# TDE on any checkpoint at test time: tools/test.py CONFIG CHECKPOINT --tta --cfg-options model.alpha=ALPHA
tta_model = dict(type='mmcausal.TDEClassifierTTA')
