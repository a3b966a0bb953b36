"""Accuracy, confusion and calibration behind the plots of predictions, by value."""
import numpy as np
import pytest

from mmcausal.evaluation import shot_groups
from mmcausal.visualization import calibration_errors, draw_class_accuracy, paper_figure, shot_confusion

GROUPS = shot_groups([500, 200, 50, 5])


def test_untested_classes_are_left_out_of_the_moving_average():
    """With 40 classes the line averages two, and every second class was never tested."""
    labels = np.arange(0, 40, 2)
    _, axes = paper_figure()
    draw_class_accuracy(axes, labels, dict(right=labels), np.arange(40, 0, -1))
    assert axes.lines[1].get_ydata().tolist() == pytest.approx([100.] * 39)


def test_confusion_by_hand():
    labels = np.array([0, 0, 0, 0, 3, 3])
    predictions = np.array([0, 1, 2, 3, 0, 0])
    assert shot_confusion(labels, predictions, GROUPS).tolist() == [[25, 25, 25, 25], [0, 0, 0, 0], [0, 100, 0, 0]]


def test_calibration_error_against_a_loop():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(4), 400).astype(np.float32)
    labels = rng.integers(0, 4, 400)
    for name, error in calibration_errors(probs, labels, GROUPS).items():
        members = GROUPS[name][labels]
        confidence, correct = probs[members].max(1), probs[members].argmax(1) == labels[members]
        expected = 0.
        for low in np.arange(15) / 15:
            inside = (confidence > low) & (confidence <= low + 1 / 15)
            if inside.any():
                expected += 100 * inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
        assert error == pytest.approx(expected, abs=1e-3)
