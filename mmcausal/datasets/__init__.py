from typing import List

from mmcausal.hosts import explain_missing, is_usable

__all__: List[str] = []

# What each host is needed for
ADAPTERS = {
    'mmengine': ['ClassPowerSampler', 'ProgressivelyBalancedSampler', 'TwoBranchSampler'],
    'mmpretrain': [
        'ImageList', 'ImageNetLT', 'LoadImage', 'LongTailedCIFAR10', 'LongTailedCIFAR100', 'LongTailedDigits'
    ],
    'mmdet': ['LVISV05Dataset', 'LVISV1Dataset', 'ShapesDataset'],
}

if is_usable('mmengine'):
    from mmcausal.datasets.samplers import ClassPowerSampler, ProgressivelyBalancedSampler, TwoBranchSampler
    __all__ += ADAPTERS['mmengine']

if is_usable('mmpretrain'):
    from mmcausal.datasets.cifar_lt import LongTailedCIFAR10, LongTailedCIFAR100
    from mmcausal.datasets.digits_lt import LongTailedDigits
    from mmcausal.datasets.image_list import ImageList, ImageNetLT
    from mmcausal.datasets.load_image import LoadImage
    __all__ += ADAPTERS['mmpretrain']

if is_usable('mmdet'):
    from mmcausal.datasets.lvis import LVISV05Dataset, LVISV1Dataset, ShapesDataset
    __all__ += ADAPTERS['mmdet']

__getattr__ = explain_missing(__name__, ADAPTERS)
