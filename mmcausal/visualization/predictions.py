"""Plots of predictions: confusion between shot groups, calibration.

Shapes: labels and predictions (N,), probs (N, C), the masks in groups (C,).
"""
from typing import TYPE_CHECKING, Dict

import numpy as np
import torch

from mmcausal.text import shorten
from mmcausal.visualization.ranks import FEW_IMAGES, class_means, draw_points, hollow_handle
from mmcausal.visualization.style import SHOT_COLORS, as_written, colors_of, legend_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_BINS = 15  # as in Guo et al., ICML 2017


def shot_confusion(labels: np.ndarray, predictions: np.ndarray, groups: Dict[str, np.ndarray]) -> np.ndarray:
    """Return the confusion (G, 1 + G) of shot groups, in percent of the images of each group.

    Row g is the group of the true class. Column 0 is right, column 1 + h is predicted as a wrong class of group h.
    """
    rows = []
    for group in groups.values():
        members = group[labels]
        wrong = members & (predictions != labels)
        cells = [members & (predictions == labels)] + [wrong & other[predictions] for other in groups.values()]
        rows.append([100 * cell.sum() / max(members.sum(), 1) for cell in cells])
    return np.array(rows)


def draw_confusion(axes: 'Axes', labels: np.ndarray, predictions: np.ndarray, groups: Dict[str, np.ndarray]) -> None:
    """Draw :func:`shot_confusion` as a matrix."""
    shares = shot_confusion(labels, predictions, groups)
    axes.imshow(shares, cmap='cividis', vmin=0, vmax=100, aspect='auto')
    for row, column in np.ndindex(*shares.shape):
        axes.text(column, row, f'{shares[row, column]:.0f}', ha='center', va='center',
                  color='white' if shares[row, column] < 60 else 'black')
    names = [shorten(name, 16) for name in groups]
    numbers = [np.isin(labels, np.flatnonzero(group)).sum() for group in groups.values()]
    style = as_written(*names)
    axes.set_xticks(range(1 + len(groups)), ['right', *(f'wrong:\n{name}' for name in names)], **style)
    axes.set_yticks(range(len(groups)), [f'{name}\n{number} images' for name, number in zip(names, numbers)], **style)
    axes.set(xlabel='predicted (%)', ylabel='true')
    axes.grid(False)


def calibration_errors(probs: np.ndarray, labels: np.ndarray, groups: Dict[str, np.ndarray]) -> Dict[str, float]:
    """Return the expected calibration error of each shot group, in percent; groups without an image are left out."""
    from torchmetrics.functional.classification import multiclass_calibration_error
    errors = {}
    for name, group in groups.items():
        members = group[labels]
        if members.any():
            errors[name] = 100 * float(multiclass_calibration_error(
                torch.as_tensor(probs[members]), torch.as_tensor(labels[members]), probs.shape[1], n_bins=NUM_BINS))
    return errors


def draw_reliability(axes: 'Axes', probs: np.ndarray, labels: np.ndarray, groups: Dict[str, np.ndarray]) -> None:
    """Draw accuracy over confidence in each shot group, with its expected calibration error and number of images.

    Bins of few images are hollow and left out of the curve.
    """
    confidence, correct = probs.max(1), probs.argmax(1) == labels
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    axes.plot([0, 1], [0, 100], color='#999999', linewidth=0.8)
    colors, handles, sizes = colors_of(groups, SHOT_COLORS), {}, np.zeros(0, int)
    for name, error in calibration_errors(probs, labels, groups).items():
        members = groups[name][labels]
        accuracy = 100 * class_means(correct[members].astype(float), bins[members], NUM_BINS)
        middle = class_means(confidence[members], bins[members], NUM_BINS)
        size = np.bincount(bins[members], minlength=NUM_BINS)
        is_reliable = size >= FEW_IMAGES
        axes.plot(middle[is_reliable], accuracy[is_reliable], color=colors[name], linewidth=1.2)
        draw_points(axes, middle, accuracy, size, 'o', colors[name])
        handles[f'{name}: ECE {error:.1f} %, {members.sum()} images'] = axes.lines[-1]
        sizes = np.concatenate([sizes, size])
    axes.set(xlabel='confidence', ylabel='accuracy (%)', xlim=(0, 1), ylim=(-2, 102))
    legend_above(axes, {**handles, **hollow_handle(sizes)})
