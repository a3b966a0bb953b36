"""Output in locales that cannot encode every name."""
import ast
import io
import logging
import os
import subprocess
import sys

import pytest
from helpers.commands import ROOT
from helpers.names import LOCALES, NAMES

from mmcausal.encoding import log_text, tolerate

ENCODABLE = [name for name in NAMES if name and name.isprintable()]


def in_locale(code, *arguments, **environment):
    """Return the bytes that a program writes to the terminal in another locale."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), **environment)
    done = subprocess.run([sys.executable, '-c', code, *arguments], env=environment, capture_output=True)
    assert done.returncode == 0 and done.stderr == b'', done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize('errors', ['strict', 'surrogateescape'])
def test_streams_write_escapes(errors):
    stream = io.TextIOWrapper(io.BytesIO(), 'gbk', errors)
    tolerate([stream, None, io.StringIO()])
    stream.write('猫 é 😀')
    stream.flush()
    assert stream.buffer.getvalue() == '猫 é '.encode('gbk') + b'\\U0001f600'


def test_streams_that_tolerate_already_stay():
    for encoding, errors in (('ascii', 'replace'), ('utf-8', 'surrogateescape')):
        stream = io.TextIOWrapper(io.BytesIO(), encoding, errors)
        tolerate([stream])
        assert stream.errors == errors


def test_a_log_file_keeps_every_line(tmp_path):
    handler = logging.FileHandler(tmp_path / 'log', encoding='ascii')
    logger = logging.Logger('names')
    logger.addHandler(handler)
    logger.addHandler(logging.NullHandler())
    log_text(logger, '猫')
    handler.close()
    assert (tmp_path / 'log').read_text() == '\\u732b\n'


@pytest.mark.parametrize('locale', LOCALES, ids=lambda locale: locale.get('PYTHONIOENCODING', 'ascii'))
def test_a_tool_prints_and_writes_every_name(locale, tmp_path):
    """File names, files and log files in UTF-8, the terminal in its own encoding."""
    code = ('from mmcausal.encoding import use_utf8; use_utf8()\n'
            'import sys; from pathlib import Path; names = sys.argv[2:]\n'
            'for name in names: print(name); (Path(sys.argv[1]) / "\\u732b").open("a").write(name + "\\n")')
    printed = in_locale(code, str(tmp_path), *ENCODABLE, **locale)
    encoding = locale.get('PYTHONIOENCODING', 'ascii')
    assert printed.decode(encoding).splitlines() == [name.encode(encoding, 'backslashreplace').decode(encoding)
                                                     for name in ENCODABLE]
    assert (tmp_path / '猫').read_text(encoding='utf-8').splitlines() == ENCODABLE


def text_files(path):
    """Yield the calls in a program that open a text file, and whether they name its encoding."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Call):
            method, function = getattr(node.func, 'attr', ''), getattr(node.func, 'id', '')
            is_os = getattr(getattr(node.func, 'value', None), 'id', '') == 'os'  # its files have bytes
            is_binary = is_os or any('b' in str(getattr(argument, 'value', '')) for argument in node.args[1:2])
            if method in ('read_text', 'write_text') or ('open' in (method, function) and not is_binary):
                yield f'{path.name}:{node.lineno}', 'encoding' in {keyword.arg for keyword in node.keywords}


def test_text_files_are_utf8_in_every_locale():
    files = [path for room in ('mmcausal', 'tools', 'benchmarks') for path in (ROOT / room).rglob('*.py')
             if '.mim' not in path.parts]
    calls = [call for path in files for call in text_files(path)]
    assert len(calls) > 10 and [place for place, names_encoding in calls if not names_encoding] == []


def test_every_tool_works_in_every_locale():
    tools = [path for path in (ROOT / 'tools').rglob('*.py') if 'if __name__' in path.read_text(encoding='utf-8')]
    hosted = {'train.py', 'test.py'}  # by tools/host.py
    assert [path.name for path in tools if 'use_utf8()' not in path.read_text(encoding='utf-8')
            and path.name not in hosted] == []
    assert 'use_utf8()' in (ROOT / 'tools' / 'host.py').read_text(encoding='utf-8')
