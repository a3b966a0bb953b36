from mmcausal.hooks.channels_last_hook import ChannelsLastHook
from mmcausal.hooks.class_prior_hook import ClassPriorHook
from mmcausal.hooks.cumulative_learning_hook import CumulativeLearningHook
from mmcausal.hooks.deferred_reweighting_hook import DeferredReweightingHook
from mmcausal.hooks.head_direction_hook import HeadDirectionHook
from mmcausal.hooks.pictures_hook import PicturesHook
from mmcausal.hooks.restart_classifier_hook import RestartClassifierHook

__all__ = [
    'ChannelsLastHook', 'ClassPriorHook', 'CumulativeLearningHook', 'DeferredReweightingHook', 'HeadDirectionHook',
    'PicturesHook', 'RestartClassifierHook'
]
