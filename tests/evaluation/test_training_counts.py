"""Training images per class from a config and from a dataset."""
import numpy as np
import pytest

from mmcausal.evaluation.training_counts import class_names, training_counts

CLASSES = ('a', 'b', 'c')


def test_order_of_the_labels():
    assert training_counts(None, {}) is None
    assert training_counts([3, 2], {}).tolist() == [3, 2]
    assert training_counts(None, dict(class_counts=(3, 2, 1))).tolist() == [3, 2, 1]
    by_name = training_counts(dict(c=0, a=3, b=2), dict(classes=CLASSES, class_counts=[3, 2, 0]))
    assert by_name.tolist() == [3, 2, 0] and by_name.dtype.kind == 'i'
    assert training_counts(None, dict(classes=CLASSES, class_counts=dict(b=1, c=2, a=3))).tolist() == [3, 1, 2]
    assert class_names(dict(classes=CLASSES), 3) == CLASSES and class_names({}, 3) == range(3)


@pytest.mark.parametrize('counts, metainfo, words', [
    ([1, 2], dict(classes=CLASSES), 'one number for each of the 3 classes of the dataset, but got 2'),
    ([1, -2], {}, r'one number >= 0 for each class, but got \[1, -2\]'),
    ([1, float('nan')], {}, 'one number >= 0'),
    (['a'], {}, 'one number >= 0'),
    (7, {}, 'one number >= 0'),
    (dict(a=1, b=2), dict(classes=CLASSES), "must have all 3 classes of the dataset, but lacks 'c'"),
    (dict(a=1, b=2, c=3, dd=4), dict(classes=CLASSES), "class_counts must have classes .*, but 'dd' is none"),
    (dict(a=1, b=2, c=-1), dict(classes=CLASSES), 'one number >= 0'),
    (dict(a=1), {}, 'it has no class names'),
    ([3, 1, 2], dict(classes=CLASSES, class_counts=[3, 2, 1]),
     "must be those of the dataset, but 2 of 3 differ; the first is class 'b', label 1: 1 here, 2 in the dataset's"),
    ([3, 1], dict(class_counts=[3, 2]), 'the first is class 1, label 1: 1 here, 2 in'),
    ([3], dict(class_counts=np.array([3, 2])), 'must have the 2 classes of the dataset, but got 1'),
])
def test_bad_counts(counts, metainfo, words):
    with pytest.raises(ValueError, match=words):
        training_counts(counts, metainfo)


def test_a_class_by_name_and_by_label_is_named_twice():
    with pytest.raises(ValueError, match="must have each class once, but have 'a', label 0, twice"):
        training_counts({'a': 1, 'b': 2, 0: 9}, dict(classes=['a', 'b']))
