"""RoI heads for MMDetection."""
from mmcausal.hosts import require_host

require_host('mmdet')

from mmcausal.models.roi_heads.label_masks import (
    LabelMaskCascadeRoIHead,
    LabelMaskHybridTaskCascadeRoIHead,
    LabelMaskMixin,
    LabelMaskStandardRoIHead,
)
from mmcausal.models.roi_heads.tde_roi_heads import (
    CascadeTDEMixin,
    StandardTDEMixin,
    TDECascadeRoIHead,
    TDEDoubleHeadRoIHead,
    TDEDynamicRoIHead,
    TDEGridRoIHead,
    TDEHybridTaskCascadeRoIHead,
    TDEMaskScoringRoIHead,
    TDEPISARoIHead,
    TDEPointRendRoIHead,
    TDERoIHeadMixin,
    TDESCNetRoIHead,
    TDEStandardRoIHead,
    TDETridentRoIHead,
)

__all__ = [
    'CascadeTDEMixin', 'LabelMaskCascadeRoIHead', 'LabelMaskHybridTaskCascadeRoIHead', 'LabelMaskMixin',
    'LabelMaskStandardRoIHead', 'StandardTDEMixin', 'TDECascadeRoIHead', 'TDEDoubleHeadRoIHead', 'TDEDynamicRoIHead',
    'TDEGridRoIHead', 'TDEHybridTaskCascadeRoIHead', 'TDEMaskScoringRoIHead', 'TDEPISARoIHead',
    'TDEPointRendRoIHead', 'TDERoIHeadMixin', 'TDESCNetRoIHead', 'TDEStandardRoIHead', 'TDETridentRoIHead'
]
