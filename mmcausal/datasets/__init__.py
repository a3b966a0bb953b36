from typing import List

from mmcausal.hosts import is_installed

__all__: List[str] = []

if is_installed('mmpretrain'):
    from mmcausal.datasets.cifar_lt import LongTailedCIFAR10, LongTailedCIFAR100
    from mmcausal.datasets.digits_lt import LongTailedDigits
    __all__ += ['LongTailedCIFAR10', 'LongTailedCIFAR100', 'LongTailedDigits']

if is_installed('mmdet'):
    from mmcausal.datasets.lvis import LVISV05Dataset, LVISV1Dataset, ShapesDataset
    __all__ += ['LVISV05Dataset', 'LVISV1Dataset', 'ShapesDataset']
