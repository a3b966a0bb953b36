"""Images of each class in the training data, through the wrappers of the hosts."""
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from torch.utils.data import Subset

# And whatever else has their get_data_info and metainfo, such as KFoldDataset and MultiImageMixDataset
Wrapper = Union[BaseDataset, ConcatDataset, RepeatDataset, ClassBalancedDataset, Subset]


class UncountableError(ValueError):
    """Data without class names, or without labels that can be read without loading an image."""


class TrainingCounts(list):
    """Class counts of a training split, as a list that may differ between the members of a ``ConcatDataset``.

    MMEngine refuses members with unequal (``!=``) meta information, and MMDetection then keeps a list of them. Other
    images are no reason for either, so ``!=`` ignores them; ``==`` compares the numbers.
    :func:`drawn_class_counts` adds the members up. Checkpoints store a plain list.
    """

    def __ne__(self, other: object) -> bool:
        return not isinstance(other, TrainingCounts) and super().__ne__(other)

    def __reduce__(self) -> Tuple[type, Tuple[list]]:
        return list, (list(self), )

    def __deepcopy__(self, memo: dict) -> 'TrainingCounts':
        return TrainingCounts(self)  # as the hosts copy meta information


class CountedMixin:
    """Keep ``metainfo['class_counts']`` of a training split true when a part of it is selected.

    That happens by ``indices``, ``get_subset`` and ``get_subset_``. Other splits keep the counts of ``load_data_list``,
    because these are counts of the training images too.
    """
    _metainfo: dict
    _indices: Union[Sequence[int], int, None]
    is_training_split = False

    def full_init(self) -> None:
        """Load the data, then count the images that ``indices`` selects."""
        super().full_init()  # type: ignore[misc]
        if self._indices is not None:
            self._recount()
        elif self.is_training_split and 'class_counts' in self._metainfo:
            self._metainfo['class_counts'] = TrainingCounts(self._metainfo['class_counts'])

    def get_subset_(self, indices: Union[Sequence[int], int]) -> None:
        """Same as the host's, and count again."""
        super().get_subset_(indices)  # type: ignore[misc]
        self._recount()

    def get_subset(self, indices: Union[Sequence[int], int]) -> BaseDataset:
        """Same as the host's, and count again."""
        subset = super().get_subset(indices)  # type: ignore[misc]
        subset._recount()
        return subset

    def _recount(self) -> None:
        if self.is_training_split:
            self._metainfo['class_counts'] = TrainingCounts(drawn_class_counts(self))  # type: ignore[arg-type]


def member_classes(metainfo: Union[dict, List[dict]]) -> List[List[str]]:
    """Return the class names of each member of a dataset, empty for one without names.

    MMDetection's ``ConcatDataset`` keeps one ``metainfo`` per member where they differ; others have one in all.
    """
    names = [info.get('classes') or () for info in (metainfo if isinstance(metainfo, list) else [metainfo])]
    return [[] if isinstance(classes, str) else list(map(str, classes)) for classes in names]


def classes_of(dataset: Wrapper) -> Optional[Sequence[str]]:
    """Return the class names of a dataset, or ``None`` if it has none.

    Raises:
        ValueError: A concatenation of datasets with different classes.
    """
    if isinstance(dataset, Subset):
        return classes_of(dataset.dataset)
    first, *others = member_classes(getattr(dataset, 'metainfo', {}))
    for other in others:
        if other != first:
            raise ValueError(f'all members of a {type(dataset).__name__} must have the same classes in the same order, '
                             f'but got {_first_difference(first, other)}')
    return first or None


def _first_difference(first: Sequence[str], second: Sequence[str]) -> str:
    for label, (one, other) in enumerate(zip(first, second)):
        if one != other:
            return f'class {label} called {one!r} in the first, but {other!r} in another one'
    return f'{len(first)} classes in the first, but {len(second)} in another one'


def image_labels(dataset: Wrapper, index: int) -> List[int]:
    """Return the distinct labels of one image in ascending order, without crowd regions. The image is not loaded.

    Raises:
        UncountableError: Data without labels.
    """
    if isinstance(dataset, Subset):
        return image_labels(dataset.dataset, dataset.indices[index])
    info: Dict[str, Any] = dataset.get_data_info(index) if hasattr(dataset, 'get_data_info') else {}
    if 'gt_label' in info:
        return np.unique(info['gt_label']).tolist()
    if 'instances' in info:
        return sorted({each['bbox_label'] for each in info['instances'] if not each.get('ignore_flag')})
    try:
        return sorted(set(dataset.get_cat_ids(index)))
    except (AttributeError, KeyError, NotImplementedError) as error:
        raise UncountableError(f'the labels of a {type(dataset).__name__} are needed, but its data have no gt_label '
                               f'and no instances: {sorted(info)}') from error


def without_repeats(dataset: Wrapper, wrappers: Tuple[type, ...] = (RepeatDataset, ClassBalancedDataset)) -> Wrapper:
    """Return the dataset inside outer ``wrappers`` that repeat images, and inside those that keep each image once."""
    while isinstance(dataset, wrappers) or _keeps_images(dataset):
        dataset = dataset.dataset  # type: ignore[union-attr]
    return dataset


def _keeps_images(dataset: Wrapper) -> bool:
    """Return whether a wrapper has the images of its dataset, each once, as ``MultiImageMixDataset`` has."""
    selects = isinstance(dataset, (RepeatDataset, ClassBalancedDataset)) or hasattr(dataset, 'indices')
    return hasattr(dataset, 'dataset') and not selects and len(dataset) == len(dataset.dataset)


def drawn_class_counts(dataset: Wrapper) -> List[int]:
    """Count the images of each class (C,) that the training draws in an epoch, wrappers included.

    An image counts as often as ``ClassBalancedDataset`` repeats it: losses with a class prior correct the distribution
    that the network sees. ``RepeatDataset`` only makes an epoch longer and counts once. In detection, an image counts
    for each class with an instance that is not a crowd region.

    Raises:
        UncountableError: Data without class names or labels.
        ValueError: Members of a concatenation with different classes, or a label that is none of a class.
    """
    classes = classes_of(dataset)
    if classes is None:
        raise UncountableError("counting the images of each class needs metainfo['classes'], but "
                               f'{type(dataset).__name__} has none')
    dataset = without_repeats(dataset, (RepeatDataset, ))
    labels = [label for index in range(len(dataset)) for label in image_labels(dataset, index)]
    return np.bincount(checked_labels(labels, len(classes)), minlength=len(classes)).tolist()


def image_class_counts(dataset: Wrapper) -> List[int]:
    """Count the images of each class (C,) once each, whatever repeats them; errors as :func:`drawn_class_counts`."""
    classes_of(dataset)  # refuses members of other classes
    single = without_repeats(dataset)
    if isinstance(single, ConcatDataset):
        return [sum(counts) for counts in zip(*map(image_class_counts, single.datasets))]
    return drawn_class_counts(single)


def checked_labels(labels: Sequence[int], num_classes: int) -> np.ndarray:
    """Return labels (N,) as an array; raise ``ValueError`` for one outside [0, num_classes)."""
    array = np.asarray(labels, dtype=np.int64)
    wrong = array[(array < 0) | (array >= num_classes)]
    if len(wrong):
        raise ValueError(f'labels must be in [0, {num_classes}), one for each class name, but got {wrong[0]}')
    return array
