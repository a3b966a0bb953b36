"""Datasets, samplers and transforms."""
from mmcausal.components import component_getattr
from mmcausal.hosts import is_usable, require_host

require_host('mmengine')

from mmcausal.datasets.class_counts import drawn_class_counts
from mmcausal.datasets.samplers import ClassPowerSampler, ProgressivelyBalancedSampler, TwoBranchSampler

__all__ = ['ClassPowerSampler', 'ProgressivelyBalancedSampler', 'TwoBranchSampler', 'drawn_class_counts']

if is_usable('mmpretrain'):
    from mmcausal.datasets.cifar_lt import LongTailedCIFAR10, LongTailedCIFAR100
    from mmcausal.datasets.digits_lt import LongTailedDigits
    from mmcausal.datasets.image_folder import ImageFolder
    from mmcausal.datasets.image_list import ImageList, ImageNetLT
    from mmcausal.datasets.load_image import LoadImage
    __all__ += ['ImageFolder', 'ImageList', 'ImageNetLT', 'LoadImage', 'LongTailedCIFAR10', 'LongTailedCIFAR100',
                'LongTailedDigits']

if is_usable('mmdet'):
    from mmcausal.datasets.lvis import CheckedLVISMixin, LVISV05Dataset, LVISV1Dataset, ShapesDataset
    __all__ += ['CheckedLVISMixin', 'LVISV05Dataset', 'LVISV1Dataset', 'ShapesDataset']

__getattr__ = component_getattr(__name__)
