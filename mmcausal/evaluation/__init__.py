from typing import Any

from mmcausal.evaluation.alpha_sweep import collect_features, sweep_alpha
from mmcausal.evaluation.shot_accuracy import ShotAccuracy
from mmcausal.hosts import is_installed, require_host

__all__ = ['ShotAccuracy', 'collect_features', 'sweep_alpha']

if is_installed('mmdet'):
    from mmcausal.evaluation.lvis_metric import LVISMetric
    __all__ += ['LVISMetric']


def __getattr__(name: str) -> Any:
    """Say which host is missing where its metric is asked for."""
    if name == 'LVISMetric':
        require_host('mmdet')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
