"""Losses for long-tailed classes. They need PyTorch alone, except ``EQLV2Loss`` (MMDetection)."""
from mmcausal.models.losses.base import SampleLoss, reduce_losses
from mmcausal.models.losses.class_prior_losses import (
    ClassBalancedLoss,
    ClassPriorLoss,
    DeferredReweightingLoss,
    LabelAwareSmoothingLoss,
    LDAMLoss,
    LogitAdjustedLoss,
)
from mmcausal.models.losses.equalization_loss import EqualizationLoss
from mmcausal.models.losses.softmax_focal_loss import SoftmaxFocalLoss

__all__ = [
    'ClassBalancedLoss', 'ClassPriorLoss', 'DeferredReweightingLoss', 'EqualizationLoss', 'LDAMLoss',
    'LabelAwareSmoothingLoss', 'LogitAdjustedLoss', 'SampleLoss', 'SoftmaxFocalLoss', 'reduce_losses'
]
