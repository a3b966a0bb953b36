"""Names of classes and files as people write them, in tables, logs and plots."""
import re
import unicodedata
from collections import Counter
from typing import List, Sequence, Union

Name = Union[str, int]
# Characters that would break a line or move the cursor of a terminal
CONTROLS = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029]+')
LONGEST = 28  # columns of a name in a table or plot


def readable(text: str) -> str:
    """Return text that UTF-8 can encode: bytes of file names that the locale could not decode are decoded as UTF-8."""
    return text.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')


def one_line(name: Name) -> str:
    """Return a name without line breaks and other control characters."""
    return CONTROLS.sub(' ', readable(str(name)))


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ('Cf', 'Me', 'Mn'):
        return 0
    return 2 if unicodedata.east_asian_width(char) in 'WF' else 1


def display_width(text: str) -> int:
    """Return the number of columns that text takes in a terminal: two for Chinese, Japanese, Korean and emoji."""
    return sum(map(_char_width, text))


def pad(text: str, width: int) -> str:
    """Return text with spaces up to ``width`` columns of a terminal."""
    return text + ' ' * (width - display_width(text))


def align(texts: Sequence[str]) -> List[str]:
    """Return texts padded to the cells of a column, with a margin of two."""
    width = 2 + max(map(display_width, texts))
    return [pad(text, width) for text in texts]


def _cut(text: str, width: int) -> str:
    """Return the longest start of text within ``width`` columns."""
    while display_width(text) > width:
        text = text[:-1]
    return text


def shorten(name: Name, width: int = LONGEST) -> str:
    """Return a name on one line of at most ``width`` columns; the middle of a longer one becomes an ellipsis."""
    text = one_line(name)
    if display_width(text) <= width:
        return text
    end = _cut(text[::-1], (width - 1) // 2)[::-1]
    return f'{_cut(text, width - 1 - display_width(end))}…{end}'


def short_names(names: Sequence[Name], width: int = LONGEST) -> List[str]:
    """Return names short enough for a plot: the first of the synonyms in an ImageNet class name, if it is unique."""
    whole = list(map(one_line, names))
    first = [name.split(',')[0].strip() for name in whole]
    uses = Counter(first)
    return [shorten(short if short and uses[short] == 1 else name, width) for short, name in zip(first, whole)]


def markdown_code(text: str) -> str:
    """Return text as code in a cell of a Markdown table."""
    fence = '`' * (1 + max(map(len, re.findall('`+', text)), default=0))
    space = ' ' if '`' in text else ''
    return f'{fence}{space}{one_line(text)}{space}{fence}'.replace('|', '\\|')
