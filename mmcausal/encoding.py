"""Output in locales that cannot encode every name."""
import logging
import os
import sys
from typing import Any, Iterable


def tolerate(streams: Iterable[Any]) -> None:
    """Make text streams write characters beyond their encoding as escapes, where they would raise an error."""
    for stream in streams:
        raising = ['strict'] if getattr(stream, 'encoding', None) == 'utf-8' else ['strict', 'surrogateescape']
        if getattr(stream, 'errors', None) in raising and hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')


def log_text(logger: logging.Logger, text: str, level: int = logging.INFO) -> None:
    """Log text with names; a terminal or log file whose encoding lacks a character gets an escape."""
    tolerate(handler.stream for handler in logger.handlers if isinstance(handler, logging.StreamHandler))
    logger.log(level, text)


def use_utf8() -> None:
    """Let a tool work with every name: restart it in Python's UTF-8 mode if its locale has another encoding.

    Then paths, logs and configs can hold any character. The terminal keeps its encoding, with escapes for characters
    beyond it.
    """
    # Windows has Unicode paths in any locale; UTF-8 mode that is already asked for is ignored by ``python -E`` alone
    if os.name == 'nt' or sys.getfilesystemencoding() == 'utf-8' or os.environ.get('PYTHONUTF8') == '1':
        tolerate([sys.stdout, sys.stderr])
        return
    environment = dict(os.environ, PYTHONUTF8='1', PYTHONIOENCODING=f'{sys.stdout.encoding}:backslashreplace')
    arguments = getattr(sys, 'orig_argv', [sys.executable, *sys.argv])[1:]  # Python 3.8 and 3.9 have only sys.argv
    os.execve(sys.executable, [sys.executable, *arguments], environment)
