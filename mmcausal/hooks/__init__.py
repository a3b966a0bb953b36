from mmcausal.hooks.channels_last_hook import ChannelsLastHook
from mmcausal.hooks.head_direction_hook import HeadDirectionHook

__all__ = ['ChannelsLastHook', 'HeadDirectionHook']
