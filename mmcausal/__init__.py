"""De-confounded training and Total Direct Effect inference for OpenMMLab.

Importing this package needs PyTorch alone. The components for MMEngine, MMPretrain and MMDetection are imported by
MMEngine's registries the first time a config names one of them, e.g. ``type='mmcausal.DeconfoundHead'``.
"""
from mmcausal import functional
from mmcausal.version import __version__

__all__ = ['__version__', 'functional']
