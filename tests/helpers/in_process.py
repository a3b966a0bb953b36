"""Tools called within this process: importing PyTorch takes longer than what most wrong calls do."""
import contextlib
import io
import os
import runpy
import sys

from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from helpers.commands import ROOT


@contextlib.contextmanager
def _restored():
    path, argv, environment, scopes = list(sys.path), sys.argv, dict(os.environ), dict(DefaultScope._instance_dict)
    try:
        yield
    finally:
        sys.path[:], sys.argv = path, argv
        os.environ.clear()
        os.environ.update(environment)
        DefaultScope._instance_dict.clear()
        DefaultScope._instance_dict.update(scopes)
        MMLogger._instance_dict.clear()


def call(tool, *arguments):
    """Return exit status and output of a tool; errors that it does not catch pass through."""
    script = ROOT / 'tools' / tool
    output = io.StringIO()
    with _restored(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        sys.argv = [str(script), *map(str, arguments)]
        sys.path.insert(0, str(script.parent))
        try:
            runpy.run_path(str(script), run_name='__main__')
        except SystemExit as end:
            if isinstance(end.code, str):  # as the interpreter does
                print(end.code)
                return 1, output.getvalue()
            return end.code or 0, output.getvalue()
    return 0, output.getvalue()


def run_tool(tool, *arguments, status=0):
    """Return the output of a tool called from the repository's root, which must end with this status."""
    folder = os.getcwd()
    os.chdir(ROOT)
    try:
        ended, output = call(tool, *arguments)
    finally:
        os.chdir(folder)
    assert ended == status, output[-3000:]
    return output


def refusals(table):
    """Return the calls of a table with lines of ``tool arguments | words of the refusal``."""
    return [tuple(part.strip() for part in line.split('|', 1)) for line in table.strip().splitlines()]


def check_refusal(command, words):
    """Check that a call ends with words and without a traceback."""
    status, output = call(*command.split())
    assert status not in (0, None), output
    assert words in output and 'Traceback' not in output, output
