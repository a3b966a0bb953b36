"""Classification heads for MMPretrain."""
from mmcausal.hosts import require_host

require_host('mmpretrain')

from mmcausal.models.heads.centered_head import CenteredHead
from mmcausal.models.heads.classifier_head import ClassifierHead
from mmcausal.models.heads.deconfound_head import DeconfoundHead
from mmcausal.models.heads.oltr_head import OLTRHead

__all__ = ['CenteredHead', 'ClassifierHead', 'DeconfoundHead', 'OLTRHead']
