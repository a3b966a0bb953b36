"""Classifier layers. They need PyTorch alone."""
from mmcausal.models.layers.deconfound_linear import DeconfoundLinear
from mmcausal.models.layers.decoupled_linears import EuclideanNCMLinear, LWSLinear, NCMLinear, TauNormLinear
from mmcausal.models.layers.detection_linear import DetectionDeconfoundLinear
from mmcausal.models.layers.logit_adjusted_linears import LogitAdjustedDeconfoundLinear, LogitAdjustedLinear
from mmcausal.models.layers.tde_linear import Alpha, TDELinear, check_alpha

__all__ = [
    'Alpha', 'DeconfoundLinear', 'DetectionDeconfoundLinear', 'EuclideanNCMLinear', 'LWSLinear',
    'LogitAdjustedDeconfoundLinear', 'LogitAdjustedLinear', 'NCMLinear', 'TDELinear', 'TauNormLinear', 'check_alpha'
]
