"""Accuracy of each class as it is drawn, by value."""
import numpy as np
import pytest

from mmcausal.visualization import draw_class_accuracy, draw_feature_norms, paper_figure, to_image
from mmcausal.visualization.class_accuracy import wilson_interval
from mmcausal.visualization.ranks import label_classes


def drawn(labels, counts, names=None, **predictions):
    figure, axes = paper_figure()
    draw_class_accuracy(axes, np.array(labels), predictions, np.array(counts), names)
    to_image(figure)
    return axes


def ticks(axes):
    return [tick.get_text() for tick in axes.get_xticklabels()]


def test_few_classes_have_points_with_names_and_no_line():
    labels = np.repeat([0, 1, 2], [20, 5, 0])
    axes = drawn(labels, [3, 200, 50], ['cat', 'dog', '$no$'], tde=np.zeros(25, int))
    assert ticks(axes) == ['dog', '$no$', 'cat']
    hollow, solid = axes.lines
    assert {line.get_linestyle() for line in axes.lines} == {'None'}
    assert hollow.get_markerfacecolor() == 'none' and hollow.get_ydata()[0] == 0  # five images of a dog
    assert solid.get_xdata().tolist() == [2] and solid.get_ydata().tolist() == [100]
    assert [text.get_text() for text in axes.texts] == ['5', '0', '20'] and 'tested images' in axes.get_xlabel()
    bars, = axes.figure.axes[1].containers
    assert [bar.get_height() for bar in bars] == [200, 50, 3]


def test_many_classes_are_averaged_in_bins_that_no_line_connects():
    """Every second class was never tested."""
    labels = np.arange(0, 40, 2)
    axes = drawn(labels, np.arange(40, 0, -1), right=labels)
    y = axes.lines[-1].get_ydata()
    assert y[0::3].tolist() == y[1::3].tolist() == pytest.approx([100.] * 10) and np.isnan(y[2::3]).all()
    assert '2 tested images in each bin' in axes.get_xlabel()


def test_the_mean_of_a_bin_is_that_of_its_tested_classes():
    labels = np.array([0, 0, 0, 1, 39])
    axes = drawn(labels, np.arange(40, 0, -1), total=np.array([0, 0, 5, 5, 39]))
    y = axes.lines[-1].get_ydata()
    assert y[0] == pytest.approx((200 / 3 + 0) / 2) and y[27] == 100 and np.isnan(y[3:27]).all()
    assert [text.get_text() for text in axes.texts] == ['4', *'00000000', '1']


@pytest.mark.parametrize('num_classes, labels', [(2, []), (40, []), (1, [0])])
def test_nothing_to_draw(num_classes, labels):
    drawn(np.array(labels, int), [0] * num_classes, None, total=np.array(labels, int))


def test_many_classes_have_ranks_and_some_names():
    _, axes = paper_figure()
    label_classes(axes, np.arange(100, 0, -1), [f'name {label}' for label in range(100)])
    assert ticks(axes)[0] == '1\nname 0' and ticks(axes)[-1] == '100\nname 99' and len(ticks(axes)) == 5
    label_classes(axes, np.arange(100, 0, -1), list(map(str, range(100))))  # no names
    assert ticks(axes)[0] == '1'


def test_norms_of_few_images_are_hollow():
    _, axes = paper_figure()
    groups = dict(night=np.array([True, False]), day=np.array([False, True]))
    draw_feature_norms(axes, np.ones((12, 4)), np.array([0] * 11 + [1]), np.array([20, 10]), groups, ['a', 'b'])
    points = [(line.get_markerfacecolor() == 'none', line.get_ydata().tolist()) for line in axes.lines]
    assert [point for point in points if point[1]] == [(False, [2.]), (True, [2.])]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ['night', 'day', 'hollow: below 10 images']


def test_intervals_against_published_values():
    """Newcombe, Statistics in Medicine 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    low, high = wilson_interval(np.array([81 / 263, 15 / 148, 0, 1 / 29, np.nan]), np.array([263, 148, 20, 29, 0]))
    assert low[:4] == pytest.approx([0.2553, 0.0624, 0, 0.0061], abs=1e-4)
    assert high[:4] == pytest.approx([0.3662, 0.1605, 0.1611, 0.1718], abs=1e-4) and np.isnan([low[4], high[4]]).all()
