"""Models by kind. Layers and losses need PyTorch alone; each other room says which host it needs."""
from mmcausal.components import component_getattr
from mmcausal.hosts import is_usable
from mmcausal.models import layers, losses
from mmcausal.models.deployed_classifier import DeployedClassifier
from mmcausal.models.enable_tde import enable_tde
from mmcausal.models.layers import *  # noqa: F403
from mmcausal.models.losses import *  # noqa: F403
from mmcausal.models.tde_support import check_tde

__all__ = ['DeployedClassifier', 'check_tde', 'enable_tde', *layers.__all__, *losses.__all__]

if is_usable('mmengine'):
    from torch import nn

    from mmcausal.registry import MODELS

    for room in (layers, losses):
        for name in room.__all__:
            component = getattr(room, name)
            if isinstance(component, type) and issubclass(component, nn.Module):
                MODELS.register_module(module=component)
    MODELS.register_module('BalancedSoftmaxLoss', module=losses.LogitAdjustedLoss)

if is_usable('mmpretrain'):
    from mmcausal.models import backbones, classifiers, heads
    from mmcausal.models.backbones import *  # noqa: F403
    from mmcausal.models.classifiers import *  # noqa: F403
    from mmcausal.models.crop_flip_preprocessor import CropFlipDataPreprocessor
    from mmcausal.models.heads import *  # noqa: F403
    from mmcausal.models.tta.tde_classifier_tta import TDEClassifierTTA
    __all__ += [*backbones.__all__, *classifiers.__all__, *heads.__all__, 'CropFlipDataPreprocessor',
                'TDEClassifierTTA']

if is_usable('mmdet'):
    from mmcausal.models import roi_heads
    from mmcausal.models.losses.eqlv2_loss import EQLV2Loss
    from mmcausal.models.roi_heads import *  # noqa: F403
    from mmcausal.models.tta.tde_detector_tta import TDEDetectorTTA, enable_detector_tde
    __all__ += [*roi_heads.__all__, 'EQLV2Loss', 'TDEDetectorTTA', 'enable_detector_tde']

__getattr__ = component_getattr(__name__)
