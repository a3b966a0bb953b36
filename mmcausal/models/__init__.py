from mmcausal.hosts import explain_missing, is_usable
from mmcausal.models.deconfound_linear import DeconfoundLinear
from mmcausal.models.decoupled_classifiers import LogitAdjustedLinear, LWSLinear, NCMLinear, TauNormLinear
from mmcausal.models.detection_linear import DetectionDeconfoundLinear
from mmcausal.models.enable_tde import enable_tde
from mmcausal.models.small_conv_net import SmallConvNet

__all__ = [
    'DeconfoundLinear', 'DetectionDeconfoundLinear', 'LWSLinear', 'LogitAdjustedLinear', 'NCMLinear', 'SmallConvNet',
    'TauNormLinear', 'enable_tde'
]

# What each host is needed for
ADAPTERS = {
    'mmpretrain': [
        'BBNClassifier', 'ClassBalancedLoss', 'ClassifierHead', 'DeconfoundHead', 'DeferredReweightingLoss',
        'FineTunedClassifier', 'LDAMLoss', 'LabelAwareSmoothingLoss', 'LogitAdjustedLoss', 'OLTRHead', 'ResNet10',
        'ResNet32', 'StageTwoClassifier', 'TDEClassifierTTA', 'TwinResNeXt'
    ],
    'mmdet': [
        'EQLV2Loss', 'EqualizationLoss', 'SoftmaxFocalLoss', 'TDECascadeRoIHead', 'TDEDetectorTTA',
        'TDEHybridTaskCascadeRoIHead', 'TDEStandardRoIHead', 'enable_detector_tde'
    ],
}

if is_usable('mmpretrain'):
    from mmcausal.models.bbn import BBNClassifier, TwinResNeXt
    from mmcausal.models.class_prior_losses import (
        ClassBalancedLoss,
        DeferredReweightingLoss,
        LabelAwareSmoothingLoss,
        LDAMLoss,
        LogitAdjustedLoss,
    )
    from mmcausal.models.classifier_head import ClassifierHead
    from mmcausal.models.deconfound_head import DeconfoundHead
    from mmcausal.models.oltr import OLTRHead
    from mmcausal.models.resnet10 import ResNet10
    from mmcausal.models.resnet32 import ResNet32
    from mmcausal.models.stage_two_classifier import FineTunedClassifier, StageTwoClassifier
    from mmcausal.models.tde_classifier_tta import TDEClassifierTTA
    __all__ += ADAPTERS['mmpretrain']

if is_usable('mmdet'):
    from mmcausal.models.box_head_losses import EQLV2Loss, SoftmaxFocalLoss
    from mmcausal.models.equalization_loss import EqualizationLoss
    from mmcausal.models.tde_detector_tta import TDEDetectorTTA, enable_detector_tde
    from mmcausal.models.tde_roi_heads import TDECascadeRoIHead, TDEHybridTaskCascadeRoIHead, TDEStandardRoIHead
    __all__ += ADAPTERS['mmdet']

__getattr__ = explain_missing(__name__, ADAPTERS)
