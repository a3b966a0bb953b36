_base_ = 'mmdet::_base_/default_runtime.py'
custom_hooks = [dict(type='mmcausal.DetectorCheckHook')]
default_hooks = dict(checkpoint=dict(type='mmcausal.CheckpointHook'))
# For the configs with de-confounding. 0.9998 = 1 - (1 - 0.9) * 0.002, as the authors' detection code
head_direction_hook = dict(type='mmcausal.HeadDirectionHook', momentum=0.9998)

# TDE on any checkpoint at test time: tools/test.py CONFIG CHECKPOINT --tta --cfg-options tta_model.alpha=ALPHA
tta_model = dict(type='mmcausal.TDEDetectorTTA')
