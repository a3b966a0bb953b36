"""Image classifiers for MMPretrain."""
from mmcausal.hosts import require_host

require_host('mmpretrain')

from mmcausal.models.classifiers.bbn import BBNClassifier
from mmcausal.models.classifiers.stage_two_classifier import FineTunedClassifier, StageTwoClassifier

__all__ = ['BBNClassifier', 'FineTunedClassifier', 'StageTwoClassifier']
