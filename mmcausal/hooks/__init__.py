from mmcausal.hooks.channels_last_hook import ChannelsLastHook
from mmcausal.hooks.class_prior_hook import ClassPriorHook
from mmcausal.hooks.head_direction_hook import HeadDirectionHook
from mmcausal.hooks.pictures_hook import PicturesHook

__all__ = ['ChannelsLastHook', 'ClassPriorHook', 'HeadDirectionHook', 'PicturesHook']
