from mmcausal.hosts import explain_missing, is_usable, require_host

require_host('mmengine')

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

__all__ = [
    'FeatureStore', 'ShotAccuracy', 'collect_features', 'hash_config', 'hash_dataset', 'hash_file',
    'image_keys', 'iterate_features', 'iterate_probs', 'shot_groups', 'sweep_alpha', 'sweep_exponent'
]

# What each host is needed for
ADAPTERS = {
    'mmdet': ['LVISFixedAPMetric', 'LVISMetric', 'ProposalStore', 'detect_again', 'iterate_proposals'],
}

if is_usable('mmdet'):
    from mmcausal.evaluation.lvis_metric import LVISFixedAPMetric, LVISMetric
    from mmcausal.evaluation.proposal_store import ProposalStore, detect_again, iterate_proposals
    __all__ += ADAPTERS['mmdet']

__getattr__ = explain_missing(__name__, ADAPTERS)
