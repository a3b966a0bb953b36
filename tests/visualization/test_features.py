"""The decomposition of features behind its plot, by value."""
import numpy as np
import pytest

from mmcausal.evaluation import shot_groups
from mmcausal.visualization import paper_figure
from mmcausal.visualization.features import draw_decomposition, head_cosines


def test_decomposition_by_hand():
    """One head: features of lengths 2 and 4 at 60 degrees from the direction are 1 and 2 along it."""
    features, mean = np.array([[1., 3**0.5], [2., 2 * 3**0.5]]), np.array([5., 0.])
    assert head_cosines(features, mean, 1) == pytest.approx([0.5, 0.5])
    _, axes = paper_figure()
    draw_decomposition(axes, features, np.array([0, 0]), mean, 1, shot_groups([500]))
    (along, ), (rest, ) = axes.lines[0].get_data()
    assert (along, rest) == pytest.approx((1.5, 1.5 * 3**0.5))
