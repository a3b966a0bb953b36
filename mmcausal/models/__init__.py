from typing import Any

from mmcausal.hosts import is_installed, require_host
from mmcausal.models.deconfound_linear import DeconfoundLinear
from mmcausal.models.small_conv_net import SmallConvNet

__all__ = ['DeconfoundLinear', 'SmallConvNet']

if is_installed('mmpretrain'):
    from mmcausal.models.deconfound_head import DeconfoundHead
    from mmcausal.models.resnet32 import ResNet32
    from mmcausal.models.tde_tta import TDEClassifierTTA, enable_tde
    __all__ += ['DeconfoundHead', 'ResNet32', 'TDEClassifierTTA', 'enable_tde']


def __getattr__(name: str) -> Any:
    """Say which host is missing where one of its adapters is asked for."""
    if name in ('DeconfoundHead', 'ResNet32', 'TDEClassifierTTA', 'enable_tde'):
        require_host('mmpretrain')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
