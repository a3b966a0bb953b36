"""Plots of predictions: accuracy per class, confusion between shot groups, calibration.

Shapes: labels and predictions (N,), probs (N, C), class_counts and the masks in groups (C,).
"""
from typing import TYPE_CHECKING, Dict

import numpy as np
import torch

from mmcausal.visualization.features import by_rank, class_means
from mmcausal.visualization.style import LINE_COLORS, MARKERS, group_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NUM_BINS = 15  # as in Guo et al., ICML 2017


def draw_class_accuracy(axes: 'Axes', labels: np.ndarray, predictions: Dict[str, np.ndarray],
                        class_counts: np.ndarray) -> None:
    """Draw the accuracy of each class by rank, for one or more classifiers; ``predictions`` has their names."""
    num_classes = len(class_counts)
    window = max(num_classes // 20, 1)  # curves of many classes are noisy
    for (name, predicted), color, marker in zip(predictions.items(), LINE_COLORS[1:], MARKERS):
        accuracy = 100 * class_means((predicted == labels).astype(float), labels, num_classes)[by_rank(class_counts)]
        axes.plot(accuracy, marker, markersize=3, color=color, alpha=0.35 if window > 1 else 1)
        tested = np.convolve(~np.isnan(accuracy), np.ones(window), 'valid')
        smooth = np.convolve(np.nan_to_num(accuracy), np.ones(window), 'valid')
        smooth = np.divide(smooth, tested, out=np.full(len(smooth), np.nan), where=tested > 0)
        axes.plot(np.arange(len(smooth)) + (window - 1) / 2, smooth, color=color, label=name)
    axes.set(xlabel='class rank, most frequent first', ylabel='accuracy (%)', ylim=(0, 102))
    axes.legend(fontsize=6)


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
    axes.set_xticks(range(1 + len(groups)), ['right', *(f'wrong:\n{name}' for name in groups)])
    axes.set_yticks(range(len(groups)), groups)
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
    """Draw accuracy over confidence in each shot group, with its expected calibration error."""
    confidence, correct = probs.max(1), probs.argmax(1) == labels
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    axes.plot([0, 1], [0, 100], color='#999999', linewidth=0.8)
    for name, error in calibration_errors(probs, labels, groups).items():
        members = groups[name][labels]
        accuracy = 100 * class_means(correct[members].astype(float), bins[members], NUM_BINS)
        middle = class_means(confidence[members], bins[members], NUM_BINS)
        axes.plot(middle, accuracy, marker='o', markersize=3, color=group_color(name, groups),
                  label=f'{name}: ECE {error:.1f} %')
    axes.set(xlabel='confidence', ylabel='accuracy (%)', xlim=(0, 1), ylim=(0, 102))
    axes.legend(fontsize=6, loc='upper left')
