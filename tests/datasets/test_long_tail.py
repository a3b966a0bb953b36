"""Long-tailed class counts and the images that they keep."""
import numpy as np
import pytest

from mmcausal.datasets.long_tail import long_tailed_counts, long_tailed_indices


def test_counts_are_the_fields():
    assert [sum(long_tailed_counts(500, 100, ratio)) for ratio in (10, 50, 100)] == [19573, 12608, 10847]
    assert [sum(long_tailed_counts(5000, 10, ratio)) for ratio in (10, 50, 100)] == [20431, 13996, 12406]
    assert long_tailed_counts(500, 4, 100, 'step') == [500, 500, 5, 5]
    assert long_tailed_counts(500, 3, 1) == [500] * 3


@pytest.mark.parametrize('ratio, profile, words', [(0.01, 'exp', r'imbalance_ratio must be a number in \[1, 500\]'),
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
    with pytest.raises(ValueError, match='class 1 needs 51 samples, but has 50'):
        long_tailed_indices(labels, [50, 51, 1], seed=0)
