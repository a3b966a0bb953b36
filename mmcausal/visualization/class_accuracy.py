"""Plot of the accuracy of each class, beside its number of training images.

Shapes: labels and predictions (N,), class_counts, names and tested (C,).
"""
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mmcausal.text import Name
from mmcausal.visualization.ranks import (
    MOST_NAMED,
    by_rank,
    class_means,
    draw_points,
    hollow_handle,
    label_classes,
)
from mmcausal.visualization.style import CLASSIFIER_COLORS, COUNT_COLOR, MARKERS, STYLE, colors_of, legend_above

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

NUM_BINS = 10


def draw_class_accuracy(axes: 'Axes', labels: np.ndarray, predictions: Dict[str, np.ndarray], class_counts: np.ndarray,
                        names: Optional[Sequence[Name]] = None) -> None:
    """Draw the accuracy of each class by rank, for one or more classifiers; ``predictions`` has their names.

    Up to 30 classes have names and 95 % intervals (Wilson). More are averaged in ten bins of neighbouring ranks. Bars
    show the training images, and numbers above the axes the tested images of each class or bin.
    """
    class_counts = np.asarray(class_counts)
    order = by_rank(class_counts)
    tested = np.bincount(labels, minlength=len(order))[order]
    draw = _draw_classes if len(order) <= MOST_NAMED else _draw_bins
    handles = draw_training_counts(axes, class_counts[order])
    colors = colors_of(predictions, CLASSIFIER_COLORS)
    for index, (name, predicted) in enumerate(predictions.items()):
        accuracy = 100 * class_means((predicted == labels).astype(float), labels, len(order))[order]
        shift = 0.3 * (index - (len(predictions) - 1) / 2)
        handles[name] = draw(axes, accuracy, tested, shift, MARKERS[index % len(MARKERS)], colors[name])
    axes.set(ylabel='accuracy (%)', ylim=(-2, 102), xlim=(-0.7, len(order) - 0.3))
    label_classes(axes, class_counts, names)
    legend_above(axes, {**handles, **hollow_handle(tested)})
    _write_numbers(axes, tested)


def draw_training_counts(axes: 'Axes', counts: np.ndarray) -> Dict[str, 'Artist']:
    """Draw bars of counts (C,) behind the axes, on a logarithmic axis at the right; return them for the legend."""
    from matplotlib import rc_context
    with rc_context({**STYLE, 'axes.spines.right': True, 'axes.grid': False}):
        right = axes.twinx()
        bars = right.bar(range(len(counts)), counts, width=0.9 if len(counts) <= MOST_NAMED else 1, color=COUNT_COLOR)
        top = 2 * max(counts.max(), 1)
        ticks = [10**power for power in range(10) if 10**power < top]
        right.set(ylabel='training images', yscale='log' if counts.any() else 'linear', ylim=(0.5, top))
        right.set_yticks(ticks, list(map(str, ticks)))
        right.minorticks_off()
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    return {'training images': bars}


def wilson_interval(share: np.ndarray, number: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the 95 % interval of a share in [0, 1] that was found among a number of samples.

    NaN without a sample. See Wilson, JASA 1927.
    """
    z = 1.96
    number = np.where(number > 0, number, np.nan)
    middle = share + z**2 / (2 * number)
    radius = z * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    return (middle - radius) / (1 + z**2 / number), (middle + radius) / (1 + z**2 / number)


def _draw_classes(axes: 'Axes', accuracy: np.ndarray, tested: np.ndarray, shift: float, marker: str,
                  color: str) -> 'Artist':
    """Draw a point with its interval for the accuracy (C,) of each class."""
    x = np.arange(len(accuracy)) + shift
    low, high = wilson_interval(accuracy / 100, tested)
    axes.vlines(x, 100 * low, 100 * high, color=color, linewidth=0.8)
    return draw_points(axes, x, accuracy, tested, marker, color)


def rank_bins(num_classes: int) -> List[np.ndarray]:
    """Return the ranks in each bin: all classes on their own if they are few."""
    return np.array_split(np.arange(num_classes), NUM_BINS if num_classes > MOST_NAMED else num_classes)


def _draw_bins(axes: 'Axes', accuracy: np.ndarray, tested: np.ndarray, shift: float, marker: str,
               color: str) -> 'Artist':
    """Draw a faint point for the accuracy (C,) of each class, and a bar for the mean over the classes of each bin."""
    draw_points(axes, np.arange(len(accuracy)), accuracy, tested, marker, color, opacity=0.35)
    x: List[float] = []
    y: List[float] = []
    for ranks in rank_bins(len(accuracy)):
        values = accuracy[ranks][tested[ranks] > 0]
        x += [ranks[0] - 0.4, ranks[-1] + 0.4, np.nan]
        y += [values.mean() if len(values) else np.nan] * 2 + [np.nan]
    return axes.plot(x, y, color=color, linewidth=2.2, solid_capstyle='butt')[0]


def _write_numbers(axes: 'Axes', tested: np.ndarray) -> None:
    """Write the number of tested images (C,) of each class or bin above it; in the axis's label if all are the same."""
    bins = rank_bins(len(tested))
    numbers = [tested[ranks].sum() for ranks in bins]
    unit = 'class' if len(bins) == len(tested) else 'bin'
    if len(set(numbers)) == 1:
        axes.set_xlabel(f'{axes.get_xlabel()}\n{numbers[0]} tested images in each {unit}')
        return
    axes.set_xlabel(f'{axes.get_xlabel()}\nabove: tested images of each {unit}')
    is_tight = len(str(max(numbers))) * len(bins) > 60
    for ranks, number in zip(bins, numbers):
        axes.annotate(str(number), (ranks.mean(), 1), xycoords=('data', 'axes fraction'), xytext=(0, 1),
                      textcoords='offset points', ha='center', va='bottom', fontsize=4.5, annotation_clip=False,
                      rotation=90 if is_tight else 0)
    # Above the numbers
    axes.get_legend().set_bbox_to_anchor((0.45, 1.12 if is_tight else 1.06), axes.transAxes)
