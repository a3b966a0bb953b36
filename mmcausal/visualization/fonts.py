"""Fonts for names in any script, from those installed."""
import logging
import unicodedata
from functools import lru_cache
from typing import Dict, FrozenSet, List, Set

from mmengine.logging import print_log

DEFAULT = 'DejaVu Sans'  # comes with Matplotlib
# Common fonts for Chinese, Japanese and Korean, which Matplotlib's own font lacks
CJK_FONTS = ('Noto Sans CJK SC', 'Noto Sans CJK JP', 'Noto Sans SC', 'WenQuanYi Micro Hei', 'WenQuanYi Zen Hei',
             'Microsoft YaHei', 'SimHei', 'PingFang SC', 'Hiragino Sans GB', 'Malgun Gothic', 'Arial Unicode MS')
# Fonts that help, by the first word of the characters' Unicode names
CJK_HELP = 'Noto Sans CJK (on Debian and Ubuntu: apt install fonts-noto-cjk)'
HELP = {**dict.fromkeys(('CJK', 'HIRAGANA', 'KATAKANA', 'HANGUL', 'FULLWIDTH', 'IDEOGRAPHIC', 'BOPOMOFO'), CJK_HELP),
        'SYMBOL': 'Symbola or Noto Emoji (on Debian and Ubuntu: apt install fonts-symbola)'}
OTHER_HELP = "the Noto Sans of this script (on Debian and Ubuntu: apt install fonts-noto-core)"
_warned: Set[str] = set()  # scripts


def _installed() -> Dict[str, str]:
    """Return the file of each installed upright font by name; common ones first."""
    from matplotlib.font_manager import fontManager
    files = {font.name: font.fname for font in fontManager.ttflist if font.style == 'normal'}
    regular = {font.name: font.fname for font in fontManager.ttflist
               if font.style == 'normal' and font.weight in (400, 'regular', 'normal', 'book')}
    files.update(regular)
    first = [name for name in (DEFAULT, *CJK_FONTS) if name in files]
    return {name: files[name] for name in [*first, *sorted(files.keys() - set(first))]}


@lru_cache(maxsize=None)
def _characters(file: str) -> FrozenSet[int]:
    """Return the characters of a font; none of a font that Matplotlib cannot draw."""
    from matplotlib.ft2font import FT2Font
    try:
        font = FT2Font(file)
        font.set_size(8, 100)  # fails for coloured bitmaps
        return frozenset(font.get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


def _warn_missing(char: str) -> None:
    """Warn that plots show a box, once for each script."""
    name = unicodedata.name(char, 'no name')
    script = 'SYMBOL' if unicodedata.category(char)[0] == 'S' else name.split(' ')[0]
    if script not in _warned:
        _warned.add(script)
        print_log(f'No installed font has U+{ord(char):04X} ({name}), so plots show a box. Install '
                  f'{HELP.get(script, OTHER_HELP)}', 'current', logging.WARNING)


def _is_drawn(char: str) -> bool:
    return unicodedata.category(char)[0] not in 'CZ' and not 0xfe00 <= ord(char) <= 0xfe0f  # variation selectors


def font_families(text: str = '') -> List[str]:
    """Return the fonts to draw text with; each character comes from the first that has it.

    These are Matplotlib's own, the common ones for Chinese, Japanese and Korean that are installed, and any other
    installed one that ``text`` needs. Without one, warns which fonts help.
    """
    installed = _installed()
    families = [name for name in (DEFAULT, *CJK_FONTS) if name in installed] or [DEFAULT]
    for char in sorted(set(filter(_is_drawn, text))):
        found = next((name for name, file in installed.items() if ord(char) in _characters(file)), None)
        if found is None:
            _warn_missing(char)
        elif found not in families:
            families.append(found)
    return families
