"""Groups of classes for metrics: by thresholds or quantiles of the training images, or named by the user.

Shapes::

    class_counts  (C,)  training images of each class, in the order of the labels
    classes       (C,)  names of the classes, in the same order
    masks         (C,)  boolean, which classes a group has
"""
from typing import Dict, List, Mapping, Sequence, Union

import numpy as np

from mmcausal.checks import check_integer, check_number, did_you_mean, is_integer, is_number

__all__ = [
    'FREQUENCIES', 'SHOTS', 'ClassNames', 'Groups', 'check_groups', 'class_groups', 'class_labels', 'frequency_groups',
    'named_groups', 'quantile_groups', 'shot_groups'
]

ClassNames = Sequence[Union[str, int]]  # range(C) for a dataset without names
Groups = Union[Sequence[float], Mapping[str, ClassNames]]
# Names of the groups by training images, rarest first
SHOTS = ('few', 'medium', 'many')
FREQUENCIES = ('rare', 'common', 'frequent')


def shot_groups(class_counts: Union[Sequence[int], np.ndarray], many: int = 100,
                few: int = 20) -> Dict[str, np.ndarray]:
    """Return masks (C,) of many-shot (above ``many`` training samples), few-shot (below ``few``) and other classes.

    Raises:
        ValueError: A negative threshold, or ``few`` above ``many`` + 1, so that a class could be both.
    """
    check_number('many', many, '[0, inf)')
    check_number('few', few, '[0, inf)')
    if few > many + 1:
        raise ValueError(f'few must not be above many + 1, but got few={few}, many={many}')
    counts = np.asarray(class_counts)
    return dict(many=counts > many, medium=(counts <= many) & (counts >= few), few=counts < few)


def frequency_groups(class_counts: Union[Sequence[int], np.ndarray], rare: int = 10,
                     common: int = 100) -> Dict[str, np.ndarray]:
    """Return masks (C,) of rare (at most ``rare`` training images), common (at most ``common``) and frequent classes.

    The defaults are those of LVIS (Gupta et al., CVPR 2019). A class without a training image is rare.

    Raises:
        ValueError: ``rare`` below 0, or ``common`` below ``rare``.
    """
    check_integer('common', common, check_integer('rare', rare, 0))
    counts = np.asarray(class_counts)
    return dict(rare=counts <= rare, common=(counts > rare) & (counts <= common), frequent=counts > common)


def quantile_groups(class_counts: Union[Sequence[int], np.ndarray], quantiles: Sequence[float],
                    names: Sequence[str] = SHOTS) -> Dict[str, np.ndarray]:
    """Return masks (C,) of three groups by the rank of the classes, sorted by their training images.

    A class is in the first, rarest group if less than the share ``quantiles[0]`` of all classes has fewer training
    images than it, in the last group if at least ``quantiles[1]`` has fewer, and in the middle otherwise. Equal counts
    are therefore in the same group, and the first group is never empty; if all counts are equal, it has all classes.

    Args:
        class_counts: Training images (C,).
        quantiles: Two shares of the classes, ascending in (0, 1).
        names: Names of the three groups, rarest first.

    Raises:
        ValueError: Other quantiles, or another number of names.

    >>> {name: mask.tolist() for name, mask in quantile_groups([9, 1, 5], (1 / 3, 2 / 3)).items()}
    {'few': [False, True, False], 'medium': [False, False, True], 'many': [True, False, False]}
    """
    low, high = _checked_quantiles(quantiles)
    if not isinstance(names, (list, tuple)) or len(names) != 3:
        raise ValueError(f'names must be those of three groups, but got {names!r}')
    counts = np.asarray(class_counts)
    share_below = np.searchsorted(np.sort(counts), counts, side='left') / max(len(counts), 1)
    masks = (share_below < low, (share_below >= low) & (share_below < high), share_below >= high)
    return dict(zip(names, masks))


def named_groups(groups: Mapping[str, ClassNames], classes: ClassNames) -> Dict[str, np.ndarray]:
    """Return the mask (C,) of each group; classes may be in no group.

    Args:
        groups: Class names or labels of each group, by the name of the group.
        classes: Class names (C,).

    Raises:
        ValueError: No group, a group without a class, an unknown or ambiguous class, or a class in two groups.
    """
    _check_named(groups)
    group_of: Dict[int, str] = {}
    masks = {name: np.zeros(len(classes), dtype=bool) for name in groups}
    for name, members in groups.items():
        for member, label in zip(members, class_labels(members, classes, f'groups[{name!r}]')):
            if label in group_of:
                raise ValueError(f'each class must be in one group once, but {member!r} is in {group_of[label]!r} and '
                                 f'in {name!r}')
            group_of[label] = name
            masks[name][label] = True
    return masks


def class_labels(members: ClassNames, classes: ClassNames, source: str) -> List[int]:
    """Return the labels of class names; integers are labels already.

    Raises:
        ValueError: A name that no class or more than one has, or a label out of range; it names ``source``.
    """
    labels: Dict[Union[str, int], List[int]] = {}
    for label, own in enumerate(classes):
        labels.setdefault(own, []).append(label)
    known = range(len(classes))
    return [int(member) if is_integer(member) and member in known else _label_of(member, labels, source)
            for member in members]


def _label_of(name: Union[str, int], labels: Dict[Union[str, int], List[int]], source: str) -> int:
    found = labels.get(name, []) if isinstance(name, str) else []
    if len(found) > 1:
        raise ValueError(f'{source} must be clear, but {name!r} is the name of the classes {found}: use labels')
    if not found:
        raise ValueError(f'{source} must have classes of the dataset, but {name!r} is none of its '
                         f'{sum(map(len, labels.values()))} classes{did_you_mean(str(name), map(str, labels))}')
    return found[0]


def class_groups(groups: Groups, class_counts: Union[Sequence[int], np.ndarray], classes: ClassNames,
                 names: Sequence[str]) -> Dict[str, np.ndarray]:
    """Return masks (C,) by quantiles (see :func:`quantile_groups`) or by name (see :func:`named_groups`).

    Args:
        groups: Two quantiles, or class names or labels by the name of their group.
        class_counts: Training images (C,), for quantiles.
        classes: Class names (C,), for named groups.
        names: Names of groups by quantiles, rarest first.
    """
    if isinstance(groups, Mapping):
        return named_groups(groups, classes)
    return quantile_groups(class_counts, groups, names)


def check_groups(groups: Groups, reserved: Sequence[str] = ()) -> Groups:
    """Return ``groups`` if :func:`class_groups` accepts it for some classes, else raise ``ValueError``.

    Args:
        groups: Two quantiles, or class names or labels by the name of their group.
        reserved: Names that no group may have. Nor may it start as a metric by total effect.
    """
    if isinstance(groups, Mapping):
        _check_named(groups)
        if set(groups) & set(reserved):
            raise ValueError(f'names of groups must not be among {tuple(reserved)}, but got {sorted(groups)}')
        if any(name.startswith('total_effect_') for name in groups):
            raise ValueError(f'names of groups must not start with total_effect_, but got {sorted(groups)}')
    else:
        _checked_quantiles(groups)
    return groups


def _checked_quantiles(quantiles: Sequence[float]) -> List[float]:
    values = list(quantiles) if isinstance(quantiles, (list, tuple, np.ndarray)) else []
    if len(values) != 2 or not all(map(is_number, values)) or not 0 < values[0] < values[1] < 1:
        raise ValueError('groups must be two quantiles, ascending in (0, 1) such as (1/3, 2/3), or a dict of class '
                         f'names by group, but got {quantiles!r}')
    return values


def _check_named(groups: Mapping[str, ClassNames]) -> None:
    if not groups:
        raise ValueError('groups must have a group, but got {}')
    for name, members in groups.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f'names of groups must be text, but got {name!r}')
        if isinstance(members, str) or not hasattr(members, '__len__') or not len(members):
            raise ValueError(f'groups[{name!r}] must be a list of class names or labels, not empty, but got '
                             f'{members!r}')
