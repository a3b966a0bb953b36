"""RoI heads for MMDetection."""
from mmcausal.hosts import require_host

require_host('mmdet')

from mmcausal.models.roi_heads.tde_roi_heads import (
    CascadeTDEMixin,
    TDECascadeRoIHead,
    TDEHybridTaskCascadeRoIHead,
    TDERoIHeadMixin,
    TDEStandardRoIHead,
)

__all__ = [
    'CascadeTDEMixin', 'TDECascadeRoIHead', 'TDEHybridTaskCascadeRoIHead', 'TDERoIHeadMixin', 'TDEStandardRoIHead'
]
