"""Text in plots, as people write it."""
import numpy as np
import pytest
from matplotlib import font_manager

from mmcausal.visualization import paper_figure, to_image
from mmcausal.visualization.grad_cam import draw_grad_cam
from mmcausal.visualization.style import CJK_FONTS, font_families

NAMES = ['under $5 and over $1', '$$', '_hidden', 'a_b^c', '<b>&amp;', 'crème brûlée', '\\frac']


@pytest.mark.parametrize('name', NAMES)
def test_class_names_are_drawn_as_they_are(name):
    figure, axes = paper_figure()
    draw_grad_cam(axes, np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), name)
    assert axes.get_title() == name and not axes.title.get_parse_math()
    assert (to_image(figure)[:40] != 255).any()  # the title is above the image


def test_fonts_are_those_installed(monkeypatch):
    assert font_families()[0] == 'DejaVu Sans'
    entries = [font_manager.FontEntry(name=name) for name in ('DejaVu Sans', CJK_FONTS[3], 'another')]
    monkeypatch.setattr(font_manager.fontManager, 'ttflist', entries)
    assert font_families() == ['DejaVu Sans', CJK_FONTS[3]]
    _, axes = paper_figure()
    assert axes.title.get_fontfamily() == ['DejaVu Sans', CJK_FONTS[3]]
