"""Classes side by side on an axis, most frequent first.

Shapes: labels (N,), class_counts, values and num_images (C,).
"""
from typing import TYPE_CHECKING, Dict, Optional, Sequence

import numpy as np

from mmcausal.text import Name, short_names, shorten
from mmcausal.visualization.style import as_written, name_ticks

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MOST_NAMED = 30  # classes; more names would overlap
FEW_IMAGES = 10  # below, the mean of a class or bin says little, and its point is hollow


def by_rank(class_counts: np.ndarray) -> np.ndarray:
    """Return the classes (C,), most frequent first."""
    return np.argsort(-np.asarray(class_counts), kind='stable')


def class_means(values: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the mean (C,) of values (N,) over each class; NaN for a class without samples."""
    sums = np.bincount(labels, weights=values, minlength=num_classes)
    counts = np.bincount(labels, minlength=num_classes)
    return np.divide(sums, counts, out=np.full(num_classes, np.nan), where=counts > 0)


def label_classes(axes: 'Axes', class_counts: np.ndarray, names: Optional[Sequence[Name]] = None) -> None:
    """Label the axis of ranks: with the names of up to ``MOST_NAMED`` classes, else with ranks and a few names."""
    order = by_rank(class_counts)
    are_numbers = names is None or list(map(str, names)) == list(map(str, range(len(order))))
    if names is not None and len(order) <= MOST_NAMED:
        short = short_names(names)
        name_ticks(axes, [short[label] for label in order])
        axes.set_xlabel('class, most frequent first')
        return
    axes.set_xlabel('class rank, most frequent first')
    ranks = np.unique(np.linspace(0, len(order) - 1, 5).round().astype(int))
    texts = [str(rank + 1) for rank in ranks]
    if names is not None and not are_numbers:
        short = short_names(names)
        texts = [f'{text}\n{shorten(short[order[rank]], 12)}' for text, rank in zip(texts, ranks)]
    axes.set_xticks(ranks, texts, fontsize=7, **as_written(*texts))


def draw_points(axes: 'Axes', x: np.ndarray, y: np.ndarray, num_images: Optional[np.ndarray], marker: str, color: str,
                opacity: float = 1.) -> 'Artist':
    """Draw points (n,), hollow where they average fewer than ``FEW_IMAGES`` images, and return one for the legend."""
    is_small = np.zeros(len(x), bool) if num_images is None else num_images < FEW_IMAGES
    style = dict(marker=marker, markersize=3, color=color, linestyle='none', alpha=opacity)
    axes.plot(x[is_small], y[is_small], markerfacecolor='none', markeredgewidth=0.7, **style)
    return axes.plot(x[~is_small], y[~is_small], **style)[0]


def hollow_handle(num_images: Optional[np.ndarray]) -> Dict[str, 'Artist']:
    """Return the entry of a legend that explains hollow points, if there are any."""
    from matplotlib.lines import Line2D
    if num_images is None or not ((num_images > 0) & (num_images < FEW_IMAGES)).any():
        return {}
    return {f'hollow: below {FEW_IMAGES} images': Line2D([], [], marker='o', markersize=3, linestyle='none',
                                                         color='#666666', markerfacecolor='none', markeredgewidth=0.7)}
