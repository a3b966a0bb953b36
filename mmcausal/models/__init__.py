from mmcausal.hosts import is_installed, require_host
from mmcausal.models.deconfound_linear import DeconfoundLinear

__all__ = ['DeconfoundLinear']

if is_installed('mmpretrain'):
    from mmcausal.models.deconfound_head import DeconfoundHead
    from mmcausal.models.resnet32 import ResNet32
    __all__ += ['DeconfoundHead', 'ResNet32']
