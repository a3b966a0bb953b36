"""Long-tailed handwritten digits: real images that need no download."""
from typing import Any, List, Optional

import numpy as np

from mmcausal.datasets.long_tail import long_tailed_counts, long_tailed_indices
from mmcausal.hosts import require_host
from mmcausal.registry import DATASETS

require_host('mmcv')
require_host('mmpretrain')

from mmpretrain.datasets import BaseDataset  # noqa: E402


@DATASETS.register_module()
class LongTailedDigits(BaseDataset):
    """The 8 x 8 handwritten digits that come with scikit-learn, with a long-tailed training split.

    Source: Alpaydin and Kaynak, *Optical Recognition of Handwritten Digits*, UCI, 1998. The first 70 images of each
    class, in the order of the file, are the balanced test split. Of the others, at least 104 a class, 100 are the pool
    that the training split keeps its class counts from.

    Args:
        split: ``'train'`` or ``'test'``.
        imbalance_ratio, profile, seed: See :class:`LongTailedCIFAR10`.
        metainfo, **kwargs: Arguments of MMPretrain's ``BaseDataset``.

    Raises:
        ValueError: Arguments out of range.
    """
    METAINFO = dict(classes=tuple('0123456789'))
    test_images_per_class = 70
    train_images_per_class = 100

    def __init__(self,
                 split: str = 'train',
                 imbalance_ratio: float = 100,
                 profile: str = 'exp',
                 seed: int = 0,
                 metainfo: Optional[dict] = None,
                 **kwargs: Any) -> None:
        if split not in ('train', 'test'):
            raise ValueError(f"split must be 'train' or 'test', got {split!r}")
        self.split = split
        self.seed = seed
        self.class_counts = long_tailed_counts(self.train_images_per_class, 10, imbalance_ratio, profile)
        metainfo = dict(class_counts=self.class_counts, **(metainfo or {}))
        super().__init__(ann_file='', metainfo=metainfo, test_mode=split == 'test', **kwargs)

    def load_data_list(self) -> List[dict]:
        from sklearn.datasets import load_digits
        digits = load_digits()
        images = (digits.images * (255 / 16)).astype(np.uint8)[..., None]  # (H, W, 1)
        rank_in_class = np.zeros(len(images), dtype=int)
        for label in range(10):
            members = digits.target == label
            rank_in_class[members] = np.arange(members.sum())
        is_test = rank_in_class < self.test_images_per_class
        rows = np.flatnonzero(is_test if self.split == 'test' else ~is_test)
        if self.split == 'train':
            rows = rows[long_tailed_indices(digits.target[rows], self.class_counts, self.seed)]
        return [dict(img=images[row], gt_label=int(digits.target[row])) for row in rows]
