"""Accuracy, confusion and calibration behind the plots of predictions, by value."""
import numpy as np
import pytest

from mmcausal.evaluation import shot_groups
from mmcausal.visualization import calibration_errors, draw_confusion, draw_reliability, paper_figure, shot_confusion

GROUPS = shot_groups([500, 200, 50, 5])


def test_confusion_by_hand():
    labels = np.array([0, 0, 0, 0, 3, 3])
    predictions = np.array([0, 1, 2, 3, 0, 0])
    assert shot_confusion(labels, predictions, GROUPS).tolist() == [[25, 25, 25, 25], [0, 0, 0, 0], [0, 100, 0, 0]]


def test_bins_of_few_images_are_hollow_and_not_connected():
    """Twelve images in the bin around 0.9, two in the one around 0.5."""
    confidence = np.array([0.9] * 12 + [0.5] * 2, np.float32)
    probs = np.stack([confidence, *[(1 - confidence) / 3] * 3], 1)
    _, axes = paper_figure()
    draw_reliability(axes, probs, np.array([0] * 14), GROUPS)
    _, curve, hollow, solid = axes.lines
    assert curve.get_xdata().tolist() == pytest.approx([0.9]) and solid.get_ydata().tolist() == [100]
    assert hollow.get_markerfacecolor() == 'none' and 0.5 == pytest.approx(np.nanmin(hollow.get_xdata()))
    assert axes.get_legend().get_texts()[0].get_text().endswith('14 images')


def test_rows_of_a_confusion_have_their_number_of_images():
    _, axes = paper_figure()
    draw_confusion(axes, np.array([0, 0, 3]), np.array([0, 1, 3]), GROUPS)
    rows = [tick.get_text() for tick in axes.get_yticklabels()]
    assert rows == ['many\n2 images', 'medium\n0 images', 'few\n1 images']


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
