"""The splits of the long-tailed digits."""
import numpy as np
import pytest

from mmcausal.datasets import LongTailedDigits


def test_digits_splits_are_disjoint_and_balanced():
    splits = {split: LongTailedDigits(split=split, imbalance_ratio=100) for split in ('train', 'val', 'test')}
    images = {split: {data.get_data_info(i)['img'].tobytes() for i in range(len(data))}
              for split, data in splits.items()}
    assert not images['train'] & images['test'] and not images['val'] & images['test']
    assert np.bincount(splits['test'].get_gt_labels()).tolist() == [50] * 10
    assert np.bincount(splits['train'].get_gt_labels()).tolist() == splits['test'].metainfo['class_counts']
    with pytest.raises(ValueError, match="split must be one of .*, but got 'dev'"):
        LongTailedDigits(split='dev')
