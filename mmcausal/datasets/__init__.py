from mmcausal.hosts import is_installed

__all__ = []

if is_installed('mmpretrain'):
    from mmcausal.datasets.cifar_lt import LongTailedCIFAR10, LongTailedCIFAR100
    __all__ += ['LongTailedCIFAR10', 'LongTailedCIFAR100']
