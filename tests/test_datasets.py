import pickle
import shutil

import numpy as np
import pytest
from conftest import CIFAR100_MD5

from mmcausal.datasets import LongTailedCIFAR100, LongTailedDigits
from mmcausal.datasets.long_tail import long_tailed_counts, long_tailed_indices


def test_counts_are_the_fields():
    assert [sum(long_tailed_counts(500, 100, ratio)) for ratio in (10, 50, 100)] == [19573, 12608, 10847]
    assert [sum(long_tailed_counts(5000, 10, ratio)) for ratio in (10, 50, 100)] == [20431, 13996, 12406]
    assert long_tailed_counts(500, 4, 100, 'step') == [500, 500, 5, 5]
    assert long_tailed_counts(500, 3, 1) == [500] * 3


@pytest.mark.parametrize('ratio, profile, words', [(0.01, 'exp', r'imbalance_ratio must be in \[1, 500\]'),
                                                   (501, 'exp', 'imbalance_ratio'), (float('nan'), 'exp', 'imbalance'),
                                                   (100, 'pareto', 'profile must be one of')])
def test_bad_profiles(ratio, profile, words):
    with pytest.raises(ValueError, match=words):
        long_tailed_counts(500, 10, ratio, profile)


def test_larger_ratios_keep_a_prefix():
    labels = np.random.RandomState(1).permutation(np.repeat(range(3), 50))
    many, few = (long_tailed_indices(labels, counts, seed=0) for counts in ([40, 20, 10], [40, 5, 2]))
    assert set(few) <= set(many)
    assert np.bincount(labels[few]).tolist() == [40, 5, 2]
    assert set(long_tailed_indices(labels, [40, 5, 2], seed=1)) != set(few)
    with pytest.raises(ValueError, match='class 1 should keep 51 samples and has only 50'):
        long_tailed_indices(labels, [50, 51, 1], seed=0)


def test_digits_splits_are_disjoint_and_balanced():
    splits = {split: LongTailedDigits(split=split, imbalance_ratio=100) for split in ('train', 'val', 'test')}
    images = {split: {data.get_data_info(i)['img'].tobytes() for i in range(len(data))}
              for split, data in splits.items()}
    assert not images['train'] & images['test'] and not images['val'] & images['test']
    assert np.bincount(splits['test'].get_gt_labels()).tolist() == [50] * 10
    assert np.bincount(splits['train'].get_gt_labels()).tolist() == splits['test'].metainfo['class_counts']
    with pytest.raises(ValueError, match="split must be one of .*, but got 'dev'"):
        LongTailedDigits(split='dev')


@pytest.mark.parametrize('ratio, size', [(100, 10847), (10, 19573)])
def test_cifar_on_real_files(cifar100_root, ratio, size):
    data = LongTailedCIFAR100(imbalance_ratio=ratio, md5=CIFAR100_MD5, data_root=str(cifar100_root), download=False)
    assert len(data) == size
    assert np.bincount(data.get_gt_labels()).tolist() == data.metainfo['class_counts']
    assert all(data.get_data_info(i)['img'].any() for i in range(len(data)))
    test = LongTailedCIFAR100(split='test', imbalance_ratio=ratio, md5=CIFAR100_MD5, data_root=str(cifar100_root))
    assert len(test) == 10000 and test.metainfo['class_counts'] == data.metainfo['class_counts']


def test_cifar_sets_a_validation_split_aside(cifar100_root):
    train, val = (LongTailedCIFAR100(split=split, val_per_class=25, md5=CIFAR100_MD5, data_root=str(cifar100_root))
                  for split in ('train', 'val'))
    assert np.bincount(val.get_gt_labels()).tolist() == [25] * 100
    assert np.bincount(train.get_gt_labels()).tolist() == long_tailed_counts(475, 100, 100)
    assert train.metainfo['class_counts'] == val.metainfo['class_counts']
    images = [{data.get_data_info(i)['img'].tobytes() for i in range(len(data))} for data in (train, val)]
    assert not images[0] & images[1]


@pytest.mark.parametrize('change, words', [(dict(split='dev'), "split must be one of .*, but got 'dev'"),
                                           (dict(split='val'), "split='val' is empty"),
                                           (dict(val_per_class=500), r'val_per_class must be in \[0, 500\), but got 5'),
                                           (dict(val_per_class=-1), 'got -1')])
def test_cifar_refuses_bad_splits(change, words):
    with pytest.raises(ValueError, match=words):
        LongTailedCIFAR100(lazy_init=True, **change)


def test_cifar_refuses_wrong_files(cifar100_root, tmp_path):
    root = str(cifar100_root)
    with pytest.raises(ValueError, match='train does not have the md5 sum 16019d7e'):
        LongTailedCIFAR100(data_root=root)
    with pytest.raises(ValueError, match='blank'):
        LongTailedCIFAR100(data_root=root, md5=CIFAR100_MD5, seed=1)
    with pytest.raises(ValueError, match=r"md5 names \['training'\]"):
        LongTailedCIFAR100(data_root=root, md5=dict(training=None))
    with pytest.raises(FileNotFoundError, match='data_root must be the folder that holds cifar-100-python/'):
        LongTailedCIFAR100(data_root=str(tmp_path), download=False)

    folder = tmp_path / 'cifar-100-python'
    folder.mkdir()
    shutil.copy(cifar100_root / 'cifar-100-python' / 'test', folder)
    for content in ((cifar100_root / 'cifar-100-python' / 'train').read_bytes()[:10000], pickle.dumps(dict(a=1))):
        (folder / 'train').write_bytes(content)
        with pytest.raises(ValueError, match='truncated or no CIFAR pickle'):
            LongTailedCIFAR100(data_root=str(tmp_path), md5=dict(train=None))
        assert (folder / 'train').read_bytes() == content
