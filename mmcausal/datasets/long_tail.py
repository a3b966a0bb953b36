"""Long-tailed subsets of balanced datasets: class counts, and the samples to keep."""
from typing import List, Optional, Sequence

import numpy as np

from mmcausal.checks import check_choice, check_integer, check_seed, is_number

PROFILES = ('exp', 'step')


def long_tailed_counts(max_count: int, num_classes: int, imbalance_ratio: float, profile: str = 'exp') -> List[int]:
    """Return training samples per class, most frequent first, from ``max_count`` to ``max_count / imbalance_ratio``.

    ``'exp'`` decays exponentially with the label. ``'step'`` keeps all samples for the first half of the classes and
    the fewest for the other half. Both are rounded like Cao et al., NeurIPS 2019 (arXiv 1906.07413).

    Raises:
        ValueError: Arguments below 1, an unknown profile, or an imbalance ratio so large that a class keeps nothing.

    >>> long_tailed_counts(500, 5, imbalance_ratio=100)
    [500, 158, 50, 15, 5]
    >>> long_tailed_counts(500, 5, imbalance_ratio=100, profile='step')
    [500, 500, 5, 5, 5]
    """
    check_integer('max_count', max_count, 1)
    check_integer('num_classes', num_classes, 1)
    check_choice('profile', profile, PROFILES)
    if not (is_number(imbalance_ratio) and 1 <= imbalance_ratio <= max_count):
        raise ValueError(f'imbalance_ratio must be a number in [1, {max_count}], so that every class keeps a '
                         f'sample, but got {imbalance_ratio!r}')
    fewest = 1 / imbalance_ratio
    if profile == 'step':
        head = num_classes // 2
        return [max_count] * head + [int(max_count * fewest)] * (num_classes - head)
    return [int(max_count * fewest**(label / max(num_classes - 1, 1))) for label in range(num_classes)]


def long_tailed_indices(labels: Sequence[int], counts: Sequence[int], seed: int,
                        skip: Optional[Sequence[int]] = None) -> np.ndarray:
    """Return the indices of the samples to keep, class by class: ``counts[c]`` of the shuffled samples of class c.

    One generator shuffles the classes in label order. With the same seed, a larger imbalance ratio therefore keeps a
    prefix of each class of a smaller one.

    Args:
        labels: Label of each sample (N,).
        counts: Number of samples to keep for each class (C,).
        seed: Seed of the shuffle.
        skip: Number of shuffled samples to skip first in each class (C,). By default none.

    Raises:
        ValueError: A seed out of range, or a class with fewer samples than ``skip`` and ``counts`` need.
    """
    rng = np.random.RandomState(check_seed(seed))
    label_array = np.asarray(labels)
    kept = []
    for label, (first, count) in enumerate(zip(skip or [0] * len(counts), counts)):
        members = np.flatnonzero(label_array == label)
        if len(members) < first + count:
            raise ValueError(f'class {label} needs {first + count} samples, but has {len(members)}')
        rng.shuffle(members)
        kept.append(members[first:first + count])
    return np.concatenate(kept)
