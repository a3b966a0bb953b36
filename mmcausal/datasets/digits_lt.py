"""Long-tailed handwritten digits: real images that need no download."""
from typing import List, Optional, Sequence, Union

import numpy as np

from mmcausal.checks import check_choice, check_seed
from mmcausal.datasets.class_counts import CountedMixin
from mmcausal.datasets.long_tail import long_tailed_counts, long_tailed_indices
from mmcausal.hosts import require_host
from mmcausal.registry import DATASETS

require_host('mmpretrain')

from mmpretrain.datasets import BaseDataset  # noqa: E402


@DATASETS.register_module()
class LongTailedDigits(CountedMixin, BaseDataset):
    """Handwritten digits of scikit-learn (8 x 8 pixels), with a long-tailed training split.

    Source: Alpaydin and Kaynak, *Optical Recognition of Handwritten Digits*, UCI, 1998. In file order, the first 50
    images of each class are the balanced test split, the next 24 the balanced validation split, and the next 100 the
    pool of the training split.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``.
        imbalance_ratio, profile, seed: See :class:`LongTailedCIFAR10`.
        metainfo: As in MMPretrain's ``BaseDataset``.
        **kwargs: Other arguments of ``BaseDataset``.

    Raises:
        ValueError: Arguments out of range.
    """
    METAINFO = dict(classes=tuple('0123456789'))
    # Ranks within a class, in file order
    RANKS = dict(test=range(0, 50), val=range(50, 74), train=range(74, 174))

    def __init__(self,
                 split: str = 'train',
                 imbalance_ratio: float = 100,
                 profile: str = 'exp',
                 seed: int = 0,
                 metainfo: Optional[dict] = None,
                 **kwargs: Union[str, bool, int, dict, Sequence, None]) -> None:
        self.split = check_choice('split', split, self.RANKS)
        self.seed = check_seed(seed)
        self.is_training_split = split == 'train'
        self.class_counts = long_tailed_counts(len(self.RANKS['train']), 10, imbalance_ratio, profile)
        metainfo = {**(metainfo or {}), 'class_counts': self.class_counts}
        super().__init__(ann_file='', metainfo=metainfo, test_mode=split != 'train', **kwargs)

    def load_data_list(self) -> List[dict]:
        from sklearn.datasets import load_digits
        digits = load_digits()
        images = (digits.images * (255 / 16)).astype(np.uint8)[..., None]  # (H, W, 1)
        members = [np.flatnonzero(digits.target == label) for label in range(10)]
        rows = np.concatenate([rows_of_class[self.RANKS[self.split]] for rows_of_class in members])
        if self.split == 'train':
            rows = rows[long_tailed_indices(digits.target[rows], self.class_counts, self.seed)]
        return [dict(img=images[row], gt_label=int(digits.target[row])) for row in rows]
