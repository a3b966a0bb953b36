"""Long-tailed CIFAR on its real files."""
import pickle
import shutil

import numpy as np
import pytest
from helpers.data import CIFAR100_MD5
from helpers.wrong_files import RunsCommand

from mmcausal.datasets import LongTailedCIFAR100
from mmcausal.datasets.long_tail import long_tailed_counts


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
                                           (dict(split='val'), 'needs val_per_class of at least 1, but got 0'),
                                           (dict(val_per_class=500), r'val_per_class must be in \[0, 500\), but got 5'),
                                           (dict(val_per_class=-1), 'got -1')])
def test_cifar_refuses_bad_splits(change, words):
    with pytest.raises(ValueError, match=words):
        LongTailedCIFAR100(lazy_init=True, **change)


def test_cifar_refuses_wrong_files(cifar100_root, tmp_path):
    root = str(cifar100_root)
    with pytest.raises(ValueError, match='train must have the md5 sum 16019d7e.*, but got '):
        LongTailedCIFAR100(data_root=root)
    with pytest.raises(ValueError, match='blank'):
        LongTailedCIFAR100(data_root=root, md5=CIFAR100_MD5, seed=1)
    with pytest.raises(ValueError, match=r"md5 must have file names among .*, but got \['training'\]"):
        LongTailedCIFAR100(data_root=root, md5=dict(training=None))
    with pytest.raises(FileNotFoundError, match='data_root must be the folder that contains cifar-100-python/'):
        LongTailedCIFAR100(data_root=str(tmp_path), download=False)

    folder = tmp_path / 'cifar-100-python'
    folder.mkdir()
    shutil.copy(cifar100_root / 'cifar-100-python' / 'test', folder)
    for content in ((cifar100_root / 'cifar-100-python' / 'train').read_bytes()[:10000], pickle.dumps(dict(a=1))):
        (folder / 'train').write_bytes(content)
        with pytest.raises(ValueError, match='truncated or not a CIFAR pickle'):
            LongTailedCIFAR100(data_root=str(tmp_path), md5=dict(train=None))
        assert (folder / 'train').read_bytes() == content


@pytest.mark.parametrize('split', ['train', 'test'])
def test_nothing_in_the_files_is_run(tmp_path, split):
    """Whoever skips the md5 sums may have files from anywhere."""
    folder = tmp_path / 'cifar-100-python'
    folder.mkdir()
    good = dict(data=np.full((2, 3072), 9, np.uint8), fine_labels=[0, 1])
    for name in ('train', 'test'):
        evil = dict(good, filenames=[RunsCommand(tmp_path / 'ran')])
        (folder / name).write_bytes(pickle.dumps(evil if name == split else good, 2))

    def load():
        return LongTailedCIFAR100(split, data_root=str(tmp_path), md5=dict(train=None, test=None))

    with pytest.raises(ValueError, match='cifar-100-python is not loaded, because it holds a .*mkdir, which could run'):
        load()
    assert not (tmp_path / 'ran').exists()
    (folder / split).write_bytes(pickle.dumps(good, 2))
    if split == 'test':
        assert len(load()) == 2
