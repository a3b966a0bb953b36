from typing import Any

from mmcausal.evaluation.alpha_sweep import iterate_probs, sweep_alpha
from mmcausal.evaluation.exponent_sweep import sweep_exponent
from mmcausal.evaluation.feature_store import (
    FeatureStore,
    collect_features,
    hash_config,
    hash_dataset,
    hash_file,
    image_keys,
    iterate_features,
)
from mmcausal.evaluation.shot_accuracy import ShotAccuracy, shot_groups
from mmcausal.hosts import is_installed, require_host

__all__ = [
    'FeatureStore', 'ShotAccuracy', 'collect_features', 'hash_config', 'hash_dataset', 'hash_file',
    'image_keys', 'iterate_features', 'iterate_probs', 'shot_groups', 'sweep_alpha',
    'sweep_exponent'
]

if is_installed('mmdet'):
    from mmcausal.evaluation.lvis_metric import LVISFixedAPMetric, LVISMetric
    from mmcausal.evaluation.proposal_store import ProposalStore, detect_again, iterate_proposals
    __all__ += ['LVISFixedAPMetric', 'LVISMetric', 'ProposalStore', 'detect_again', 'iterate_proposals']


def __getattr__(name: str) -> Any:
    """Say which host is missing where its metric is asked for."""
    if name in ('LVISFixedAPMetric', 'LVISMetric'):
        require_host('mmdet')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
