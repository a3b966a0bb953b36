from typing import List

from mmcausal.hosts import is_installed

__all__: List[str] = []

if is_installed('mmengine'):
    from mmcausal.datasets.samplers import ClassPowerSampler, ProgressivelyBalancedSampler, TwoBranchSampler
    __all__ += ['ClassPowerSampler', 'ProgressivelyBalancedSampler', 'TwoBranchSampler']

if is_installed('mmpretrain'):
    from mmcausal.datasets.cifar_lt import LongTailedCIFAR10, LongTailedCIFAR100
    from mmcausal.datasets.digits_lt import LongTailedDigits
    from mmcausal.datasets.image_list import ImageList, ImageNetLT
    from mmcausal.datasets.load_image import LoadImage
    __all__ += ['ImageList', 'ImageNetLT', 'LoadImage', 'LongTailedCIFAR10', 'LongTailedCIFAR100', 'LongTailedDigits']

if is_installed('mmdet'):
    from mmcausal.datasets.lvis import LVISV05Dataset, LVISV1Dataset, ShapesDataset
    __all__ += ['LVISV05Dataset', 'LVISV1Dataset', 'ShapesDataset']
