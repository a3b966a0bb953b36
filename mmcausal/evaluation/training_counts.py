"""Training images per class, as typed in a config or counted by a dataset."""
from typing import Iterable, Mapping, Optional, Sequence, Union

import numpy as np

from mmcausal.checks import is_number
from mmcausal.evaluation.class_groups import ClassNames, class_labels

ClassCounts = Union[Sequence[int], np.ndarray, Mapping[str, int]]


def class_names(metainfo: Mapping, num_classes: int = 0) -> ClassNames:
    """Return the class names in the ``metainfo`` of a dataset, or the labels of ``num_classes`` classes."""
    classes = metainfo.get('classes')
    return range(num_classes) if classes is None else classes


def training_counts(class_counts: Optional[ClassCounts], metainfo: Mapping) -> Optional[np.ndarray]:
    """Return the training images per class (C,) in the order of the labels, or ``None`` if nobody gives them.

    Args:
        class_counts: Counts in the order of the labels, or by class name. By default those of the dataset.
        metainfo: The dataset's, with ``class_counts`` and ``classes`` if it has them.

    Raises:
        ValueError: Counts that are not one number >= 0 for each class of the dataset, or given counts that differ from
            the dataset's.
    """
    own = metainfo.get('class_counts')
    if class_counts is None:
        return None if own is None else _in_label_order(own, metainfo)
    counts = _in_label_order(class_counts, metainfo)
    if own is not None:
        _check_agreement(counts, _in_label_order(own, metainfo), metainfo)
    return counts


def check_given_counts(class_counts: Optional[ClassCounts]) -> Optional[ClassCounts]:
    """Return ``class_counts`` if they may be those of some dataset, else raise ``ValueError``."""
    if class_counts is not None:
        values = class_counts.values() if isinstance(class_counts, Mapping) else class_counts
        _in_label_order(list(values) if isinstance(values, Iterable) else values, {})
        if not len(class_counts):
            raise ValueError(f'class_counts must be one number >= 0 for each class, but got {class_counts!r}')
    return class_counts


def _in_label_order(class_counts: ClassCounts, metainfo: Mapping) -> np.ndarray:
    if isinstance(class_counts, Mapping):
        class_counts = _counts_by_name(class_counts, metainfo)
    counts = np.asarray(class_counts)
    if counts.ndim != 1 or not all(is_number(count) and count >= 0 for count in counts.tolist()):
        raise ValueError(f'class_counts must be one number >= 0 for each class, but got {class_counts!r}')
    classes = metainfo.get('classes')
    if classes is not None and len(classes) != len(counts):
        raise ValueError(f'class_counts must have one number for each of the {len(classes)} classes of the dataset, '
                         f'but got {len(counts)}')
    return counts


def _counts_by_name(class_counts: Mapping[str, int], metainfo: Mapping) -> np.ndarray:
    classes = metainfo.get('classes')
    if classes is None:
        raise ValueError("class_counts by name need a dataset with metainfo['classes'], but it has no class names")
    counts = np.full(len(classes), -1, dtype=np.asarray([*class_counts.values(), 0]).dtype)
    labels = class_labels(list(class_counts), classes, 'class_counts')
    for label in np.flatnonzero(np.bincount(np.array(labels, dtype=np.int64)) > 1):
        raise ValueError(f'class_counts must have each class once, but have {classes[label]!r}, label {label}, twice')
    counts[labels] = list(class_counts.values())
    missing = [name for name, count in zip(classes, counts) if count == -1 and name not in class_counts]
    if missing:
        raise ValueError(f'class_counts must have all {len(classes)} classes of the dataset, but lacks {missing[0]!r}')
    return counts


def _check_agreement(counts: np.ndarray, own: np.ndarray, metainfo: Mapping) -> None:
    if len(counts) != len(own):
        raise ValueError(f'class_counts must have the {len(own)} classes of the dataset, but got {len(counts)}')
    different = np.flatnonzero(counts != own)
    if len(different):
        label = int(different[0])
        raise ValueError(
            f'class_counts must be those of the dataset, but {len(different)} of {len(own)} differ; the first is class '
            f'{class_names(metainfo, len(own))[label]!r}, label {label}: {counts[label]} here, {own[label]} in the '
            "dataset's metainfo. Leave class_counts out, or give them by class name")
