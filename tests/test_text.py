"""Names in tables, by hand."""
import pytest
from helpers.names import NAMES

from mmcausal.text import align, display_width, markdown_code, one_line, pad, readable, short_names, shorten


@pytest.mark.parametrize('text, width', [('dog', 3), ('', 0), ('猫と犬', 6), ('고양이', 6), ('ｱ', 1), ('Ａ', 2),
                                         ('é', 1), ('e\u0301', 1), ('😀', 2), ('a\u200db', 2), ('שלום', 4)])
def test_columns_of_a_terminal(text, width):
    assert display_width(text) == width
    assert pad(text, 8) == text + ' ' * (8 - width)


def test_a_column_is_as_wide_as_its_widest_text():
    assert align(['class', '猫と犬']) == ['class   ', '猫と犬  ']


@pytest.mark.parametrize('name', NAMES)
def test_every_name_fits_on_a_short_line(name):
    for text in (shorten(name, 12), *short_names([name, 'dog'], 12)):
        assert display_width(text) <= 12 and text.isprintable() and text == one_line(text)
    assert len(one_line(name).splitlines()) <= 1


def test_shortened_names_keep_both_ends():
    assert shorten('a very long name of a class', 11) == 'a ver…class'
    assert shorten('猫' * 10, 8) == '猫猫…猫'
    assert shorten('x' * 12, 12) == 'x' * 12 and shorten(7) == '7'


def test_the_first_synonym_stands_for_a_class_if_it_is_unique():
    names = ['tench, Tinca tinca', 'crane', 'crane, bird', ', comma', 'dog', 3]
    assert short_names(names) == ['tench', 'crane', 'crane, bird', ', comma', 'dog', '3']


def test_bytes_of_another_locale_become_text_again():
    assert readable('猫'.encode().decode('ascii', 'surrogateescape')) == '猫'
    assert readable(b'\xff.png'.decode('utf-8', 'surrogateescape')) == '\ufffd.png'


def test_code_in_a_cell_of_a_markdown_table():
    assert markdown_code('a_b') == '`a_b`' and markdown_code('a|b') == '`a\\|b`'
    assert markdown_code('a`b') == '`` a`b ``' and markdown_code('a\nb') == '`a b`'
