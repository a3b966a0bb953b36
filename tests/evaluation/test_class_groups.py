"""Groups of classes against counting by hand."""
import numpy as np
import pytest

from mmcausal.evaluation.class_groups import (
    check_groups,
    class_groups,
    frequency_groups,
    named_groups,
    quantile_groups,
    shot_groups,
)


def labels(masks):
    return {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()}


def test_thresholds_include_what_they_say():
    counts = [500, 101, 100, 20, 19, 11, 10, 0]
    assert labels(shot_groups(counts)) == dict(many=[0, 1], medium=[2, 3], few=[4, 5, 6, 7])
    assert labels(frequency_groups(counts)) == dict(rare=[6, 7], common=[2, 3, 4, 5], frequent=[0, 1])
    assert labels(frequency_groups(counts, rare=0, common=500)) == dict(rare=[7], common=list(range(7)), frequent=[])
    for arguments in (dict(rare=-1), dict(rare=9, common=8), dict(common=1.5)):
        with pytest.raises(ValueError, match='must be an integer of at least'):
            frequency_groups(counts, **arguments)


def by_hand(counts, low, high):
    """Return few, medium and many by counting, for each class, how many have fewer images."""
    groups = ([], [], [])
    for label, count in enumerate(counts):
        share = sum(other < count for other in counts) / len(counts)
        groups[0 if share < low else 1 if share < high else 2].append(label)
    return dict(zip(('few', 'medium', 'many'), groups))


@pytest.mark.parametrize('counts', [
    [9, 8, 7, 6, 5, 4, 3, 2, 1], [3, 1, 2], [1, 1, 1, 1, 100, 1000], [5, 5, 5, 5], [7], [0, 0, 3, 3, 3, 9, 9],
    np.random.default_rng(0).integers(0, 20, 50).tolist()])
@pytest.mark.parametrize('quantiles', [(1 / 3, 2 / 3), [.2, .5], (.01, .99)])
def test_quantiles_of_the_sorted_classes(counts, quantiles):
    masks = quantile_groups(counts, quantiles)
    assert labels(masks) == by_hand(counts, *quantiles)
    assert (sum(mask.astype(int) for mask in masks.values()) == 1).all()  # each class is in one group
    for count in set(counts):  # equal counts are together
        assert len({tuple(mask[np.array(counts) == count]) for mask in masks.values()}) <= 2
    assert masks['few'].any()


def test_thirds_of_nine_and_names():
    assert labels(quantile_groups(range(9), (1 / 3, 2 / 3), ('r', 'c', 'f'))) == dict(
        r=[0, 1, 2], c=[3, 4, 5], f=[6, 7, 8])
    assert labels(quantile_groups([4, 4, 4], (1 / 3, 2 / 3))) == dict(few=[0, 1, 2], medium=[], many=[])
    assert labels(quantile_groups([], (.3, .6))) == dict(few=[], medium=[], many=[])


@pytest.mark.parametrize('quantiles', [(.5, ), (.2, .4, .6), (.6, .3), (.5, .5), (0, .5), (.5, 1), ('a', 'b'), 'auto',
                                       .5, (float('nan'), .5)])
def test_bad_quantiles(quantiles):
    with pytest.raises(ValueError, match='groups must be two quantiles, ascending in'):
        check_groups(quantiles)
    with pytest.raises(ValueError, match='groups must be two quantiles, ascending in'):
        quantile_groups([1, 2, 3], quantiles)


CLASSES = ('sea lion', 'café', 'axolotl', 'crane', 'crane', '3')


def test_named_groups_of_names_and_labels():
    masks = named_groups({'sea': ['axolotl', 'sea lion'], 'rest': [3, np.int64(1)], 'digit': ('3', )}, CLASSES)
    assert labels(masks) == {'sea': [0, 2], 'rest': [1, 3], 'digit': [5]}  # and label 4 is in none
    assert labels(named_groups({'low': [0, 1]}, range(3))) == dict(low=[0, 1])
    assert labels(class_groups({'low': ['café']}, [1] * 6, CLASSES, ())) == dict(low=[1])
    assert list(class_groups((.3, .6), [1, 2], CLASSES, ('a', 'b', 'c'))) == ['a', 'b', 'c']


@pytest.mark.parametrize('groups, words', [
    ({}, 'groups must have a group, but got {}'),
    ({'a': []}, r"groups\['a'\] must be a list of class names or labels, not empty, but got \[\]"),
    ({'a': 'crane'}, r"groups\['a'\] must be a list of class names or labels, not empty, but got 'crane'"),
    ({'a': 3}, r"groups\['a'\] must be a list"),
    ({1: ['café']}, 'names of groups must be text, but got 1'),
    ({'a': ['axolotle']}, r"groups\['a'\] must have classes of the dataset, but 'axolotle' is none of its 6 classes; "
     "did you mean 'axolotl'"),
    ({'a': [6]}, 'but 6 is none of its 6 classes'),
    ({'a': [-1]}, 'but -1 is none'),
    ({'a': [True]}, 'but True is none'),
    ({'a': ['crane']}, r"must be clear, but 'crane' is the name of the classes \[3, 4\]: use labels"),
    ({'a': ['café'], 'b': [1]}, "each class must be in one group once, but 1 is in 'a' and in 'b'"),
    ({'a': ['café', 'café']}, "each class must be in one group once, but 'café' is in 'a' and in 'a'"),
])
def test_bad_named_groups(groups, words):
    with pytest.raises(ValueError, match=words):
        named_groups(groups, CLASSES)


def test_reserved_names():
    with pytest.raises(ValueError, match=r"names of groups must not be among \('overall',\), but got \['overall'\]"):
        check_groups(dict(overall=['a']), reserved=('overall', ))


def test_names_of_metrics_by_total_effect_are_reserved():
    with pytest.raises(ValueError, match='names of groups must not start with total_effect_'):
        check_groups(dict(total_effect_overall=[0, 1], rest=[2]))
