"""Fonts of names, from those installed."""
from unittest import mock

import pytest
from matplotlib import font_manager

from mmcausal.visualization import fonts, paper_figure
from mmcausal.visualization.fonts import CJK_FONTS, font_families


@pytest.fixture
def installed(monkeypatch):
    """Three fonts: Matplotlib's own, one for Chinese, and one that alone has a character."""
    characters = {'dejavu': set(map(ord, 'abc é')), 'cjk': {ord('猫')}, 'other': {ord('ก'), ord('a')}}
    entries = [font_manager.FontEntry(name=name, fname=file, style='normal', weight=400)
               for name, file in (('Another', 'other'), ('DejaVu Sans', 'dejavu'), (CJK_FONTS[3], 'cjk'))]
    monkeypatch.setattr(font_manager.fontManager, 'ttflist', entries)
    monkeypatch.setattr(fonts, '_characters', characters.get)
    monkeypatch.setattr(fonts, '_warned', set())


def test_fonts_are_those_installed(installed):
    assert font_families() == font_families('abc 猫') == ['DejaVu Sans', CJK_FONTS[3]]
    assert font_families('ก') == ['DejaVu Sans', CJK_FONTS[3], 'Another']
    _, axes = paper_figure()
    assert axes.title.get_fontfamily() == ['DejaVu Sans', CJK_FONTS[3]]


def test_a_missing_font_is_named_once_for_each_script(installed):
    with mock.patch.object(fonts, 'print_log') as log:
        for text in ('한국', '어', '😀', '🙂', 'ह', '\u200d\ufe0f \n'):
            font_families(text)
    messages = [call.args[0] for call in log.call_args_list]
    assert ['U+AD6D (HANGUL SYLLABLE GUG)' in messages[0], 'fonts-noto-cjk' in messages[0]] == [True, True]
    assert 'fonts-symbola' in messages[1] and 'fonts-noto-core' in messages[2] and len(messages) == 3


def test_fonts_that_matplotlib_cannot_draw_are_passed_over(tmp_path):
    (tmp_path / 'damaged.ttf').write_bytes(b'no font')
    assert fonts._characters(str(tmp_path / 'damaged.ttf')) == frozenset()
