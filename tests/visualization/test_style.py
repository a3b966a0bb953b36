"""Names, colours and legends in plots."""
import numpy as np
import pytest
from helpers.names import NAMES
from matplotlib import rc_context

from mmcausal.text import shorten
from mmcausal.visualization import paper_figure, to_image
from mmcausal.visualization.grad_cam import draw_grad_cam
from mmcausal.visualization.style import (
    CLASSIFIER_COLORS,
    SHOT_COLORS,
    SPARE_COLORS,
    colors_of,
    legend_above,
    name_ticks,
)


@pytest.mark.filterwarnings('ignore:Glyph')
def test_names_are_drawn_as_they_are():
    """In titles, ticks and a legend, whatever the user's style says."""
    with rc_context({'text.usetex': True}):
        figure, panels = paper_figure(columns=6, rows=5)
        for name, axes in zip(NAMES, panels.flat):
            draw_grad_cam(axes, np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), name)
            axes.set_axis_on()
            axes.set(xticks=[], yticks=[])
        name_ticks(axes, NAMES)
        legend = legend_above(axes, dict.fromkeys(NAMES, axes.plot([0, 1])[0]))
        drawn = [*(axes.title for axes in panels.flat), *axes.get_xticklabels(), *legend.get_texts()]
        to_image(figure)
    assert [text.get_text() for text in drawn] == [*NAMES, *NAMES, *(shorten(name, 40) for name in NAMES)]
    assert not any(text.get_parse_math() or text.get_usetex() for text in drawn)


def test_each_colour_has_one_meaning():
    known = [*SHOT_COLORS.values(), *CLASSIFIER_COLORS.values(), *SPARE_COLORS]
    assert len(known) == len(set(known))
    colors = colors_of(['few', 'night', 'day'], SHOT_COLORS)
    assert colors['few'] == SHOT_COLORS['few'] and not {colors['night'], colors['day']} & {*SHOT_COLORS.values()}
    assert colors['night'] != colors['day']


@pytest.mark.parametrize('number', [1, 3, 9])
def test_a_legend_is_above_the_axes(number):
    figure, axes = paper_figure()
    legend = legend_above(axes, {f'name {index}': axes.plot([0, 1])[0] for index in range(number)})
    to_image(figure)
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1
    assert legend.get_window_extent().y1 <= figure.bbox.y1
