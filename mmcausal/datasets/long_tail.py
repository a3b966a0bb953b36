"""How a balanced data set becomes long-tailed: class counts of a profile, and which samples keep them."""
from typing import List, Optional, Sequence

import numpy as np

from mmcausal.checks import is_number

PROFILES = ('exp', 'step')


def long_tailed_counts(max_count: int, num_classes: int, imbalance_ratio: float, profile: str = 'exp') -> List[int]:
    """Training samples per class, most frequent first, from ``max_count`` to ``max_count / imbalance_ratio``.

    ``'exp'`` decays exponentially with the label, ``'step'`` keeps the first half of the classes whole and cuts the
    other half down; both as Cao et al., NeurIPS 2019 (arXiv 1906.07413), round them.

    Raises:
        ValueError: Unknown profile, or an imbalance ratio below 1 or so large that a class keeps nothing.

    >>> long_tailed_counts(500, 5, imbalance_ratio=100)
    [500, 158, 50, 15, 5]
    >>> long_tailed_counts(500, 5, imbalance_ratio=100, profile='step')
    [500, 500, 5, 5, 5]
    """
    if profile not in PROFILES:
        raise ValueError(f'profile must be one of {PROFILES}, but got {profile!r}')
    if not (is_number(imbalance_ratio) and 1 <= imbalance_ratio <= max_count):
        raise ValueError(f'imbalance_ratio must be in [1, {max_count}], so that every class keeps a sample, '
                         f'but got {imbalance_ratio!r}')
    fewest = 1 / imbalance_ratio
    if profile == 'step':
        head = num_classes // 2
        return [max_count] * head + [int(max_count * fewest)] * (num_classes - head)
    return [int(max_count * fewest**(label / max(num_classes - 1, 1))) for label in range(num_classes)]


def long_tailed_indices(labels: Sequence[int], counts: Sequence[int], seed: int,
                        skip: Optional[Sequence[int]] = None) -> np.ndarray:
    """Indices of the samples kept, class after class: ``counts[c]`` of class c's shuffled samples.

    One generator shuffles the classes in label order, so that for one seed a larger imbalance ratio keeps a prefix of
    what a smaller one keeps.

    Args:
        labels: Label of every sample.
        counts: How many samples of each class to keep.
        seed: Of the shuffle.
        skip: How many of each class's first samples to pass over, none by default.

    Raises:
        ValueError: A class with fewer samples than it should keep.
    """
    rng = np.random.RandomState(seed)
    label_array = np.asarray(labels)
    kept = []
    for label, (first, count) in enumerate(zip(skip or [0] * len(counts), counts)):
        members = np.flatnonzero(label_array == label)
        if len(members) < first + count:
            raise ValueError(f'class {label} should keep {first + count} samples and has only {len(members)}')
        rng.shuffle(members)
        kept.append(members[first:first + count])
    return np.concatenate(kept)
