"""Hooks: when directions and losses change, and checks before the work starts."""
from mmcausal.components import component_getattr
from mmcausal.hosts import is_usable, require_host

require_host('mmengine')

from mmcausal.hooks.channels_last_hook import ChannelsLastHook
from mmcausal.hooks.checkpoint_check_hook import CheckpointCheckHook
from mmcausal.hooks.checkpoint_hook import CheckpointHook
from mmcausal.hooks.class_means_hook import ClassMeansHook
from mmcausal.hooks.class_prior_hook import ClassPriorHook
from mmcausal.hooks.compile_backbone_hook import CompileBackboneHook
from mmcausal.hooks.cumulative_learning_hook import CumulativeLearningHook
from mmcausal.hooks.deferred_reweighting_hook import DeferredReweightingHook
from mmcausal.hooks.exact_resume_hook import ExactResumeHook
from mmcausal.hooks.head_direction_hook import HeadDirectionHook
from mmcausal.hooks.pictures_hook import PicturesHook
from mmcausal.hooks.restart_classifier_hook import RestartClassifierHook

__all__ = [
    'ChannelsLastHook', 'CheckpointCheckHook', 'CheckpointHook', 'ClassMeansHook', 'ClassPriorHook',
    'CompileBackboneHook', 'CumulativeLearningHook', 'DeferredReweightingHook', 'ExactResumeHook', 'HeadDirectionHook',
    'PicturesHook', 'RestartClassifierHook'
]

if is_usable('mmdet'):
    from mmcausal.hooks.detector_check_hook import DetectorCheckHook
    __all__ += ['DetectorCheckHook']

__getattr__ = component_getattr(__name__)
