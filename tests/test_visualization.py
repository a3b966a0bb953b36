"""Pictures: the figures behind them by value, and that they can be drawn; what they look like is for eyes."""
import numpy as np
import pytest
import torch

from mmcausal.evaluation import shot_groups
from mmcausal.models import DeconfoundLinear
from mmcausal.visualization import (
    calibration_errors,
    classifier_pictures,
    draw_class_accuracy,
    paper_figure,
    shot_confusion,
    to_image,
)
from mmcausal.visualization.features import draw_decomposition, head_cosines

COUNTS = [500, 200, 50, 5]
GROUPS = shot_groups(COUNTS)
WITH_DIRECTION = {'direction_cosines', 'decomposition'}


@pytest.fixture
def trained():
    layer = DeconfoundLinear(8, 4, alpha=1.)
    features, labels = torch.randn(60, 8) + 1, np.arange(60) % 4
    layer(features)
    layer.update_direction(0.)
    return layer, features.detach().numpy(), labels


def test_all_pictures_are_drawn(trained):
    layer, features, labels = trained
    pictures = classifier_pictures(layer, features, labels, COUNTS, GROUPS)
    assert WITH_DIRECTION < pictures.keys() and len(pictures) == 7
    for figure in pictures.values():
        image = to_image(figure)
        assert image.dtype == np.uint8 and image.shape[2] == 3 and image.std() > 1
    assert layer.alpha == 1 and layer.training


def test_without_alpha_there_is_no_second_panel(trained):
    layer, features, labels = trained
    pictures = classifier_pictures(layer, features, labels, COUNTS, GROUPS, alpha=0.)
    assert [len(pictures['confusion'].axes), len(pictures['class_accuracy'].axes[0].lines)] == [1, 2]


def test_untested_classes_are_left_out_of_the_moving_average():
    """40 classes, so the line averages two; one in two of them was never tested."""
    labels = np.arange(0, 40, 2)
    _, axes = paper_figure()
    draw_class_accuracy(axes, labels, dict(right=labels), np.arange(40, 0, -1))
    assert axes.lines[1].get_ydata().tolist() == pytest.approx([100.] * 39)


def test_without_direction_there_are_no_pictures_of_it(trained):
    _, features, labels = trained
    assert not WITH_DIRECTION & classifier_pictures(DeconfoundLinear(8, 4), features, labels, COUNTS, GROUPS).keys()


def test_classes_and_groups_without_images(trained):
    layer, features, labels = trained
    seen = labels < 2
    for figure in classifier_pictures(layer, features[seen], labels[seen], COUNTS, GROUPS).values():
        to_image(figure)


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


def test_decomposition_by_hand():
    """One head: a feature at 60 degrees from the direction is 1/2 along it, and sqrt(3)/2 across."""
    features, mean = np.array([[1., 3**0.5], [2., 2 * 3**0.5]]), np.array([5., 0.])
    assert head_cosines(features, mean, 1) == pytest.approx([0.5, 0.5])
    _, axes = paper_figure()
    draw_decomposition(axes, features, np.array([0, 0]), mean, 1, shot_groups([500]))
    (along, ), (rest, ) = axes.lines[0].get_data()
    assert (along, rest) == pytest.approx((0.5, 0.75**0.5))
