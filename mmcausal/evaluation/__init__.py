"""Metrics that MMEngine's Runner calls."""
from mmcausal.components import component_getattr
from mmcausal.hosts import is_usable, require_host

require_host('mmengine')

from mmcausal.evaluation.class_groups import frequency_groups, named_groups, quantile_groups, shot_groups
from mmcausal.evaluation.shot_accuracy import ShotAccuracy

__all__ = ['ShotAccuracy', 'frequency_groups', 'named_groups', 'quantile_groups', 'shot_groups']

if is_usable('mmdet'):
    from mmcausal.evaluation.coco_metric import CocoMetric
    from mmcausal.evaluation.lvis_metric import CheckedSamplesMixin, LVISFixedAPMetric, LVISMetric
    __all__ += ['CheckedSamplesMixin', 'CocoMetric', 'LVISFixedAPMetric', 'LVISMetric']

__getattr__ = component_getattr(__name__)
