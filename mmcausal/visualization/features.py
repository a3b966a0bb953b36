"""Plots of features and weights, also relative to the head direction.

Shapes::

    features (N, D), labels (N,), class_counts (C,), weight (C, D), mean_feature (D,), masks in groups (C,), names (C,)
"""
from typing import TYPE_CHECKING, Dict, Optional, Sequence

import numpy as np
import torch

from mmcausal import functional
from mmcausal.text import Name
from mmcausal.visualization.ranks import by_rank, class_means, draw_points, hollow_handle, label_classes
from mmcausal.visualization.style import SHOT_COLORS, colors_of, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_feature_norms(axes: 'Axes', features: np.ndarray, labels: np.ndarray, class_counts: np.ndarray,
                       groups: Dict[str, np.ndarray], names: Optional[Sequence[Name]] = None) -> None:
    """Draw the mean length of the features of each class (Figure 1b of the paper)."""
    norms = class_means(np.linalg.norm(features, axis=1), labels, len(class_counts))
    tested = np.bincount(labels, minlength=len(class_counts))
    _draw_by_rank(axes, norms, class_counts, groups, names, tested)
    axes.set_ylabel('mean length of the feature')


def draw_weight_norms(axes: 'Axes', weight: np.ndarray, class_counts: np.ndarray, groups: Dict[str, np.ndarray],
                      names: Optional[Sequence[Name]] = None) -> None:
    """Draw the length of the classifier weights of each class (Figure 6 of the paper)."""
    _draw_by_rank(axes, np.linalg.norm(weight, axis=1), class_counts, groups, names)
    axes.set_ylabel('length of the weight')


def _draw_by_rank(axes: 'Axes', values: np.ndarray, class_counts: np.ndarray, groups: Dict[str, np.ndarray],
                  names: Optional[Sequence[Name]], num_images: Optional[np.ndarray] = None) -> None:
    """Draw a dot for the value (C,) of each class, coloured by shot group."""
    ranks = np.argsort(by_rank(class_counts))
    colors = colors_of(groups, SHOT_COLORS)
    handles = {name: draw_points(axes, ranks[group], values[group], None if num_images is None else num_images[group],
                                 'o', colors[name]) for name, group in groups.items() if group.any()}
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    label_classes(axes, class_counts, names)
    legend_above(axes, {**handles, **hollow_handle(num_images)})


def head_cosines(features: np.ndarray, mean_feature: np.ndarray, num_heads: int) -> np.ndarray:
    """Return the cosine (N,) of each feature and the head direction, averaged over heads."""
    x, mean = torch.as_tensor(features).float(), torch.as_tensor(mean_feature).float()
    units = functional.unit_heads(x, num_heads) * functional.head_direction(mean, num_heads)
    return (units.sum(-1) / num_heads).numpy()


def draw_direction_cosines(axes: 'Axes', features: np.ndarray, labels: np.ndarray, mean_feature: np.ndarray,
                           num_heads: int, groups: Dict[str, np.ndarray]) -> None:
    """Draw the distribution of cos(x, d) in each shot group, with its mean and number of images."""
    cosines = head_cosines(features, mean_feature, num_heads)
    colors, handles = colors_of(groups, SHOT_COLORS), {}
    for name, group in groups.items():
        values = cosines[group[labels]]
        if len(values):
            _, _, (outline, ) = axes.hist(values, bins=np.linspace(-1, 1, 81).tolist(), density=True, histtype='step',
                                          linewidth=1.4, color=colors[name])
            handles[f'{name}: mean {values.mean():.2f}, {len(values)} images'] = outline
    axes.set(xlabel='cosine of feature and head direction', ylabel='density',
             xlim=(min(cosines.min(), 0) - 0.05, 1.02))
    legend_above(axes, handles)


def draw_decomposition(axes: 'Axes', features: np.ndarray, labels: np.ndarray, mean_feature: np.ndarray,
                       num_heads: int, groups: Dict[str, np.ndarray]) -> None:
    """Draw the mean length of each class's features along the head direction, and across it (Figure 2 of the paper)."""
    x = torch.as_tensor(features).float().unflatten(-1, (num_heads, -1))
    direction = functional.head_direction(torch.as_tensor(mean_feature).float(), num_heads).view(num_heads, -1)
    along = (x * direction).sum(-1, keepdim=True) * direction
    rest = x - along
    num_classes = len(next(iter(groups.values())))
    parts = [class_means(part.flatten(1).norm(dim=1).numpy(), labels, num_classes) for part in (along, rest)]
    tested = np.bincount(labels, minlength=num_classes)
    colors = colors_of(groups, SHOT_COLORS)
    handles = {name: draw_points(axes, parts[0][group], parts[1][group], tested[group], 'o', colors[name], 0.7)
               for name, group in groups.items() if group.any()}
    axes.set(xlabel='length along the head direction', ylabel='length of the rest', xlim=(0, 1.05 * axes.get_xlim()[1]),
             ylim=(0, 1.05 * axes.get_ylim()[1]))
    legend_above(axes, {**handles, **hollow_handle(tested)})
