"""What the features and weights look like beside the head direction.

Shapes::

    features (N, D), labels (N,), class_counts (C,), weight (C, D), mean_feature (D,)

Classes are drawn by rank: the most frequent in training first.
"""
from typing import Any, Dict

import numpy as np
import torch

from mmcausal import functional
from mmcausal.visualization.style import SHOT_COLORS


def class_means(values: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The mean of values (N,) over each class: (C,), NaN for a class without samples."""
    sums = np.bincount(labels, weights=values, minlength=num_classes)
    counts = np.bincount(labels, minlength=num_classes)
    return np.divide(sums, counts, out=np.full(num_classes, np.nan), where=counts > 0)


def by_rank(class_counts: np.ndarray) -> np.ndarray:
    """The classes (C,), most frequent first."""
    return np.argsort(-np.asarray(class_counts), kind='stable')


def draw_feature_norms(axes: Any, features: np.ndarray, labels: np.ndarray, class_counts: np.ndarray,
                       groups: Dict[str, np.ndarray]) -> None:
    """Mean length of the feature by class rank (Figure 1b of the paper)."""
    norms = class_means(np.linalg.norm(features, axis=1), labels, len(class_counts))
    _draw_by_rank(axes, norms, class_counts, groups)
    axes.set_ylabel('mean length of the feature')


def draw_weight_norms(axes: Any, weight: np.ndarray, class_counts: np.ndarray, groups: Dict[str, np.ndarray]) -> None:
    """Length of the classifier's weights by class rank (Figure 6 of the paper)."""
    _draw_by_rank(axes, np.linalg.norm(weight, axis=1), class_counts, groups)
    axes.set_ylabel('length of the weight')


def _draw_by_rank(axes: Any, values: np.ndarray, class_counts: np.ndarray, groups: Dict[str, np.ndarray]) -> None:
    """A dot for the value (C,) of each class, coloured by shot group."""
    order = by_rank(class_counts)
    for name, group in groups.items():
        axes.plot(np.flatnonzero(group[order]), values[order][group[order]], 'o', markersize=3, color=SHOT_COLORS[name],
                  label=name)
    axes.set(xlabel='class rank, most frequent first', ylim=(0, None))
    axes.legend(fontsize=6)


def head_cosines(features: np.ndarray, mean_feature: np.ndarray, num_heads: int) -> np.ndarray:
    """Cosine of each feature and the head direction, averaged over heads: (N,)."""
    x, mean = torch.as_tensor(features).float(), torch.as_tensor(mean_feature).float()
    units = functional.unit_heads(x, num_heads) * functional.head_direction(mean, num_heads)
    return (units.sum(-1) / num_heads).numpy()


def draw_direction_cosines(axes: Any, features: np.ndarray, labels: np.ndarray, mean_feature: np.ndarray,
                           num_heads: int, groups: Dict[str, np.ndarray]) -> None:
    """Distribution of cos(x, d) in each shot group, and its mean. ``groups``: which classes (C,) belong to each."""
    cosines = head_cosines(features, mean_feature, num_heads)
    for name, group in groups.items():
        values = cosines[group[labels]]
        if len(values):
            axes.hist(values, bins=np.linspace(-1, 1, 81), density=True, histtype='step', linewidth=1.4,
                      color=SHOT_COLORS[name], label=f'{name}: mean {values.mean():.2f}')
    axes.set(xlabel='cosine of feature and head direction', ylabel='density',
             xlim=(min(cosines.min(), 0) - 0.05, 1.02))
    axes.legend(fontsize=6, loc='upper left')


def draw_decomposition(axes: Any, features: np.ndarray, labels: np.ndarray, mean_feature: np.ndarray,
                       num_heads: int, groups: Dict[str, np.ndarray]) -> None:
    """Each class's features split in two (Figure 2 of the paper): the part along the head direction, and the rest.

    One dot a class, the mean over its features of both parts' lengths.
    """
    x = torch.as_tensor(features).float().unflatten(-1, (num_heads, -1))
    direction = functional.head_direction(torch.as_tensor(mean_feature).float(), num_heads).view(num_heads, -1)
    along = (x * direction).sum(-1, keepdim=True) * direction
    rest = x - along
    num_classes = len(next(iter(groups.values())))
    parts = [class_means(part.flatten(1).norm(dim=1).numpy(), labels, num_classes) for part in (along, rest)]
    for name, group in groups.items():
        axes.plot(parts[0][group], parts[1][group], 'o', markersize=4, color=SHOT_COLORS[name], label=name, alpha=0.6)
    axes.set(xlabel='length along the head direction', ylabel='length of the rest', xlim=(0, None), ylim=(0, None))
    axes.legend(fontsize=6)
