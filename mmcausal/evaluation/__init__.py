from mmcausal.evaluation.alpha_sweep import collect_features, sweep_alpha
from mmcausal.evaluation.shot_accuracy import ShotAccuracy

__all__ = ['ShotAccuracy', 'collect_features', 'sweep_alpha']
