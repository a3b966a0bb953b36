"""Analysis of trained models: stored features and proposals, sweeps over them, provenance of results."""
from mmcausal.components import component_getattr
from mmcausal.hosts import is_usable, require_host

require_host('mmengine')

from mmcausal.analysis.chosen_alpha import alphas_in, check_config_name, configured_alphas, write_alpha_config
from mmcausal.analysis.feature_store import (
    FeatureStore,
    check_identity,
    collect_features,
    hash_config,
    hash_dataset,
    hash_file,
    image_keys,
    iterate_features,
)
from mmcausal.analysis.provenance import commit, machine, provenance
from mmcausal.analysis.sweeps import (
    Correction,
    check_correction,
    iterate_probs,
    predict,
    sweep_alpha,
    sweep_corrections,
)
from mmcausal.analysis.trained import (
    auto_alphas,
    build_split,
    build_split_without_test_images,
    check_held_out,
    check_names,
    complete_features,
    features_folder,
    identity_of,
    load_classifier,
    load_weights,
    provide_class_counts,
    quiet_runner,
    remaining_batches,
    reported_groups,
    shot_metric,
)

__all__ = [
    'Correction', 'FeatureStore', 'alphas_in', 'auto_alphas', 'build_split', 'build_split_without_test_images',
    'check_config_name', 'check_correction', 'check_held_out', 'check_identity', 'check_names', 'collect_features',
    'commit', 'complete_features', 'configured_alphas', 'features_folder', 'hash_config', 'hash_dataset', 'hash_file',
    'identity_of', 'image_keys', 'iterate_features', 'iterate_probs', 'load_classifier', 'load_weights', 'machine',
    'predict', 'provenance', 'provide_class_counts', 'quiet_runner', 'remaining_batches', 'reported_groups',
    'shot_metric', 'sweep_alpha', 'sweep_corrections', 'write_alpha_config'
]

if is_usable('mmdet'):
    from mmcausal.analysis.proposal_store import ProposalStore, detect_again, iterate_proposals
    __all__ += ['ProposalStore', 'detect_again', 'iterate_proposals']

__getattr__ = component_getattr(__name__)
