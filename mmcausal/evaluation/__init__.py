"""Metrics that MMEngine's Runner calls."""
from mmcausal.components import component_getattr
from mmcausal.hosts import is_usable, require_host

require_host('mmengine')

from mmcausal.evaluation.shot_accuracy import ShotAccuracy, shot_groups

__all__ = ['ShotAccuracy', 'shot_groups']

if is_usable('mmdet'):
    from mmcausal.evaluation.lvis_metric import CheckedSamplesMixin, LVISFixedAPMetric, LVISMetric
    __all__ += ['CheckedSamplesMixin', 'LVISFixedAPMetric', 'LVISMetric']

__getattr__ = component_getattr(__name__)
