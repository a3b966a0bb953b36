"""De-confounded training and Total Direct Effect inference for OpenMMLab and plain PyTorch.

Importing this package needs PyTorch alone. Every public name can be imported from here; it is loaded when you ask for
it, together with the host it needs: ``from mmcausal import DeconfoundLinear`` (PyTorch), ``DeconfoundHead``
(MMPretrain), ``TDECascadeRoIHead`` (MMDetection). In a config, MMEngine's registries find the same names, e.g.
``type='mmcausal.DeconfoundHead'``.
"""
from typing import List

from mmcausal import class_prior, functional
from mmcausal.components import MODULE_OF, PACKAGES, component_getattr
from mmcausal.version import __version__

__all__ = ['__version__', 'class_prior', 'functional', *sorted(MODULE_OF)]

__getattr__ = component_getattr(__name__)


def __dir__() -> List[str]:
    return sorted({*globals(), *MODULE_OF, *PACKAGES})
