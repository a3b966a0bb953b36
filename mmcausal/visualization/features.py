"""Plots of features and weights, also relative to the head direction.

Shapes::

    features (N, D), labels (N,), class_counts (C,), weight (C, D), mean_feature (D,), masks in groups (C,)
"""
from typing import TYPE_CHECKING, Dict

import numpy as np
import torch

from mmcausal import functional
from mmcausal.visualization.style import group_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def class_means(values: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the mean (C,) of values (N,) over each class; NaN for a class without samples."""
    sums = np.bincount(labels, weights=values, minlength=num_classes)
    counts = np.bincount(labels, minlength=num_classes)
    return np.divide(sums, counts, out=np.full(num_classes, np.nan), where=counts > 0)


def by_rank(class_counts: np.ndarray) -> np.ndarray:
    """Return the classes (C,), most frequent first."""
    return np.argsort(-np.asarray(class_counts), kind='stable')


def draw_feature_norms(axes: 'Axes', features: np.ndarray, labels: np.ndarray, class_counts: np.ndarray,
                       groups: Dict[str, np.ndarray]) -> None:
    """Draw the mean length of the features by class rank (Figure 1b of the paper)."""
    norms = class_means(np.linalg.norm(features, axis=1), labels, len(class_counts))
    _draw_by_rank(axes, norms, class_counts, groups)
    axes.set_ylabel('mean length of the feature')


def draw_weight_norms(axes: 'Axes', weight: np.ndarray, class_counts: np.ndarray,
                      groups: Dict[str, np.ndarray]) -> None:
    """Draw the length of the classifier weights by class rank (Figure 6 of the paper)."""
    _draw_by_rank(axes, np.linalg.norm(weight, axis=1), class_counts, groups)
    axes.set_ylabel('length of the weight')


def _draw_by_rank(axes: 'Axes', values: np.ndarray, class_counts: np.ndarray, groups: Dict[str, np.ndarray]) -> None:
    """Draw a dot for the value (C,) of each class, coloured by shot group."""
    order = by_rank(class_counts)
    for name, group in groups.items():
        axes.plot(np.flatnonzero(group[order]), values[order][group[order]], 'o', markersize=3,
                  color=group_color(name, groups), label=name)
    axes.set(xlabel='class rank, most frequent first', ylim=(0, None))
    axes.legend(fontsize=6)


def head_cosines(features: np.ndarray, mean_feature: np.ndarray, num_heads: int) -> np.ndarray:
    """Return the cosine (N,) of each feature and the head direction, averaged over heads."""
    x, mean = torch.as_tensor(features).float(), torch.as_tensor(mean_feature).float()
    units = functional.unit_heads(x, num_heads) * functional.head_direction(mean, num_heads)
    return (units.sum(-1) / num_heads).numpy()


def draw_direction_cosines(axes: 'Axes', features: np.ndarray, labels: np.ndarray, mean_feature: np.ndarray,
                           num_heads: int, groups: Dict[str, np.ndarray]) -> None:
    """Draw the distribution of cos(x, d) in each shot group, with its mean."""
    cosines = head_cosines(features, mean_feature, num_heads)
    for name, group in groups.items():
        values = cosines[group[labels]]
        if len(values):
            axes.hist(values, bins=np.linspace(-1, 1, 81).tolist(), density=True, histtype='step', linewidth=1.4,
                      color=group_color(name, groups), label=f'{name}: mean {values.mean():.2f}')
    axes.set(xlabel='cosine of feature and head direction', ylabel='density',
             xlim=(min(cosines.min(), 0) - 0.05, 1.02))
    axes.legend(fontsize=6, loc='upper left')


def draw_decomposition(axes: 'Axes', features: np.ndarray, labels: np.ndarray, mean_feature: np.ndarray,
                       num_heads: int, groups: Dict[str, np.ndarray]) -> None:
    """Draw the mean length of each class's features along the head direction, and across it (Figure 2 of the paper)."""
    x = torch.as_tensor(features).float().unflatten(-1, (num_heads, -1))
    direction = functional.head_direction(torch.as_tensor(mean_feature).float(), num_heads).view(num_heads, -1)
    along = (x * direction).sum(-1, keepdim=True) * direction
    rest = x - along
    num_classes = len(next(iter(groups.values())))
    parts = [class_means(part.flatten(1).norm(dim=1).numpy(), labels, num_classes) for part in (along, rest)]
    for name, group in groups.items():
        axes.plot(parts[0][group], parts[1][group], 'o', markersize=4, color=group_color(name, groups), label=name,
                  alpha=0.6)
    axes.set(xlabel='length along the head direction', ylabel='length of the rest', xlim=(0, None), ylim=(0, None))
    axes.legend(fontsize=6)
