"""Class counts through the wrappers of the hosts: the images that a training really draws."""
import copy
import pickle
from collections import Counter

import numpy as np
import pytest
from mmdet.datasets import ConcatDataset as DetConcatDataset
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.registry import DATASETS, init_default_scope
from mmpretrain.datasets import KFoldDataset
from torch.utils.data import Subset

from mmcausal.datasets import LongTailedDigits
from mmcausal.datasets.class_counts import TrainingCounts, classes_of, drawn_class_counts, image_class_counts

COUNTS = [100, 59, 35, 21, 12, 7, 4, 2, 1, 1]


def digits(**kwargs):
    init_default_scope('mmpretrain')
    return LongTailedDigits(imbalance_ratio=100, **kwargs)


def loop(dataset):
    """Count by loading every image, as a training does."""
    found = Counter(int(dataset[index]['gt_label']) for index in range(len(dataset)))
    return [found[label] for label in range(10)]


class Boxes:
    """Detection data: images with instances, of which the second is a crowd region."""
    metainfo = dict(classes=('cat', 'dog', 'bird'))
    images = [[(0, 0), (2, 1)], [(1, 0), (1, 0), (0, 0)], []]

    def __len__(self):
        return len(self.images)

    def get_data_info(self, index):
        return dict(instances=[dict(bbox_label=label, ignore_flag=crowd) for label, crowd in self.images[index]])


def test_plain_data():
    dataset = digits()
    assert drawn_class_counts(dataset) == dataset.metainfo['class_counts'] == loop(dataset) == COUNTS
    assert drawn_class_counts(Boxes()) == [2, 1, 0]


@pytest.mark.parametrize('build', [
    lambda: digits(indices=110),
    lambda: digits(indices=-30),
    lambda: digits(indices=[0, 5, 241]),
    lambda: digits().get_subset([3, 101, 240]),
    lambda: digits(serialize_data=False).get_subset(120),
    lambda: Subset(digits(), [3, 101, 240]),
    lambda: ConcatDataset([digits(), digits(seed=3, indices=50)]),
    lambda: DetConcatDataset([digits(), digits(seed=3, indices=50)]),
    lambda: ConcatDataset([digits(), digits(indices=50)], ignore_keys=['class_counts']),
    lambda: ConcatDataset([digits(), dict(type='RepeatDataset', dataset=dict(
        type='mmcausal.LongTailedDigits', indices=50), times=2)]),
    lambda: ClassBalancedDataset(digits(), oversample_thr=0.1),
    lambda: KFoldDataset(dict(type='mmcausal.LongTailedDigits'), fold=1, num_splits=3, seed=0),
])
def test_counts_are_those_of_the_images_drawn(build):
    dataset = build()
    assert drawn_class_counts(dataset) == loop(dataset) != COUNTS


def test_repeating_everything_changes_no_count():
    dataset = RepeatDataset(digits(), times=3)
    assert drawn_class_counts(dataset) == COUNTS and sum(loop(dataset)) == 3 * sum(COUNTS)


def test_metainfo_follows_a_selection_of_training_images_only():
    assert digits(indices=110).metainfo['class_counts'] == [100, 10, *[0] * 8]
    whole = digits()
    assert whole.get_subset(110).metainfo['class_counts'] == [100, 10, *[0] * 8]
    assert whole.metainfo['class_counts'] == COUNTS
    whole.get_subset_(110)
    assert whole.metainfo['class_counts'] == [100, 10, *[0] * 8]
    # The test split has the counts of the training split, however few images are tested
    assert digits(split='test', indices=20).metainfo['class_counts'] == COUNTS


def test_counts_may_differ_between_members_but_not_from_other_lists():
    one, other = TrainingCounts([1, 2]), TrainingCounts([3, 4])
    assert not one != other and not one == other
    assert one == [1, 2] and not one != [1, 2] and one != [3, 4] and [3, 4] != one
    # Splits that are tested must have the counts of one training split
    with pytest.raises(ValueError, match='does not match meta information'):
        ConcatDataset([digits(split='test'), digits(split='test').__class__(split='test', imbalance_ratio=10)])


def test_other_classes_are_refused_by_name():
    mixed = DetConcatDataset([digits(), digits(metainfo=dict(classes=tuple('0123456798')))])
    assert isinstance(mixed.metainfo, list)
    with pytest.raises(ValueError, match="same classes in the same order, but got class 8 called '8' in the first"):
        classes_of(mixed)
    mixed = DetConcatDataset([digits(), digits(metainfo=dict(classes=tuple('012345678')))])
    with pytest.raises(ValueError, match='but got 10 classes in the first, but 9 in another one'):
        drawn_class_counts(mixed)


def test_data_that_cannot_be_counted_is_refused():
    class Unlabelled(Boxes):

        def get_data_info(self, index):
            return dict(img_path='a.jpg')

    with pytest.raises(ValueError, match=r"no gt_label and no instances: \['img_path'\]"):
        drawn_class_counts(Unlabelled())
    unnamed = Boxes()
    unnamed.metainfo = {}
    with pytest.raises(ValueError, match=r"needs metainfo\['classes'\], but Boxes has none"):
        drawn_class_counts(unnamed)


def test_several_labels_of_an_image_count_once_each():
    class MultiLabel(Boxes):

        def get_data_info(self, index):
            return dict(gt_label=[[0, 2], np.array([1, 1]), []][index])

    assert drawn_class_counts(MultiLabel()) == [1, 1, 1]


def test_checkpoints_store_a_plain_list():
    counts = digits().metainfo['class_counts']
    assert type(counts) is type(copy.deepcopy(counts)) is TrainingCounts
    assert type(pickle.loads(pickle.dumps(counts))) is list and b'mmcausal' not in pickle.dumps(counts)


def test_members_without_names_have_none():
    mixed = Boxes()
    mixed.metainfo = [dict(a=1), dict(a=2)]  # as MMDetection's ConcatDataset
    assert classes_of(mixed) is None


@pytest.mark.parametrize('concatenate', [ConcatDataset, DetConcatDataset])
def test_images_that_wrappers_repeat_count_once(concatenate):
    init_default_scope('mmpretrain')
    plain = dict(type='mmcausal.LongTailedDigits')
    repeated = dict(type='RepeatDataset', dataset=plain, times=3)
    balanced = dict(type='ClassBalancedDataset', dataset=plain, oversample_thr=0.5)
    for data in (digits(), RepeatDataset(digits(), 3), ClassBalancedDataset(digits(), 0.5), concatenate([repeated])):
        assert image_class_counts(data) == COUNTS
    assert len(concatenate([balanced])) > sum(COUNTS)
    assert image_class_counts(concatenate([balanced, repeated, digits()])) == [3 * count for count in COUNTS]


def test_wrappers_that_mix_images_keep_what_is_inside():
    """Mosaic and CopyPaste take one image at each index of their dataset, so repeats inside it are repeats."""
    init_default_scope('mmdet')
    plain = dict(type='mmcausal.LongTailedDigits', imbalance_ratio=100)
    repeated, balanced = dict(type='RepeatDataset', dataset=plain, times=4), dict(
        type='ClassBalancedDataset', dataset=plain, oversample_thr=0.5)

    def mixed(dataset):
        return dict(type='MultiImageMixDataset', dataset=dataset, pipeline=[])

    for cfg in (mixed(plain), mixed(repeated), dict(repeated, dataset=mixed(plain)), mixed(mixed(repeated))):
        dataset = DATASETS.build(cfg)
        assert image_class_counts(dataset) == drawn_class_counts(dataset) == COUNTS
    dataset = DATASETS.build(mixed(balanced))
    assert image_class_counts(dataset) == COUNTS
    assert drawn_class_counts(dataset) == drawn_class_counts(DATASETS.build(balanced)) != COUNTS
    both = DATASETS.build(mixed(dict(type='ConcatDataset', datasets=[plain, repeated])))
    assert image_class_counts(both) == [2 * count for count in COUNTS]
