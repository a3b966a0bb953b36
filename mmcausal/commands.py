"""Arguments, checks and errors that commands share, and commands that messages name."""
import argparse
import contextlib
import itertools
import os
import shlex
import sys
from pathlib import Path
from typing import Callable, Iterator, List, Optional, TypeVar

from mmengine.config import DictAction

from mmcausal.checks import check_integer, check_number
from mmcausal.config_files import message_of
from mmcausal.files import check_output, is_same_file
from mmcausal.models.layers import Alpha, check_alpha

_Value = TypeVar('_Value')


def add_overwrite_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--overwrite', action='store_true', help='replace output files that exist')


def check_outputs(parser: argparse.ArgumentParser, args: argparse.Namespace, *outputs: Optional[Path]) -> None:
    """End the tool before any work if it cannot write an output, or would replace a file unasked.

    Existing files need ``--overwrite``. A file that another argument names is never replaced.

    Args:
        parser: Parser of the tool, with :func:`add_overwrite_argument`.
        args: Its arguments.
        outputs: The values of output arguments, and files whose names follow from them; ``None`` is left out.
    """
    given = [output for output in outputs if output is not None]
    inputs = [value for value in _leaves(vars(args)) if all(value is not output for output in given)]
    try:
        for output, other in itertools.combinations(given, 2):
            if is_same_file(output, other):
                raise ValueError(f'the outputs must be different files, but got {output} and {other}')
        for output in given:
            check_output(output, [value for value in inputs if os.path.isfile(value)], args.overwrite)
    except (OSError, ValueError) as error:
        parser.error(str(error))


def _leaves(value: object) -> List[str]:
    """Return the texts and paths in the value of an argument, also in lists and in changes of a config."""
    if isinstance(value, dict):
        return _leaves(list(value.values()))
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value] if isinstance(value, (str, Path)) else []  # type: ignore[list-item]


def _parser(parse: Callable[[str], _Value], demand: str) -> Callable[[str], _Value]:
    """Return ``parse`` for argparse: where it raises ``ValueError``, the message names the demand and the text."""

    def parse_argument(text: str) -> _Value:
        try:
            return parse(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'must be {demand}, but got {text}') from None

    return parse_argument


def alpha_argument(text: str) -> Alpha:
    """Parse ``'auto'`` or a number that is not negative.

    Raises:
        argparse.ArgumentTypeError: Another text.
    """
    return _parser(lambda value: check_alpha(value if value == 'auto' else float(value)),
                   "'auto' or a number in [0, inf)")(text)


def integer_argument(low: int) -> Callable[[str], int]:
    """Return the parser of an integer of at least ``low``."""
    return _parser(lambda text: check_integer('value', int(text), low), f'an integer of at least {low}')


def number_argument(interval: str) -> Callable[[str], float]:
    """Return the parser of a number in ``interval``, see :func:`mmcausal.checks.check_number`."""
    return _parser(lambda text: check_number('value', float(text), interval), f'a number in {interval}')


def file_argument(text: str) -> str:
    """Check that a local file exists; URLs are left to the host.

    Raises:
        argparse.ArgumentTypeError: No such file.
    """
    if '://' not in text and not Path(text).is_file():
        raise argparse.ArgumentTypeError(f'no such file: {text}')
    return text


class OptionsAction(DictAction):
    """Same as MMEngine's ``DictAction``, except that it ends with the usage if an option is not ``KEY=VALUE``."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: List[str],
                 option_string: Optional[str] = None) -> None:
        for option in values:
            if not option.partition('=')[0].strip() or '=' not in option:
                parser.error(f'{option_string} must be KEY=VALUE, but got {option!r}')
            try:
                super().__call__(parser, namespace, [option], option_string)
            except Exception as error:  # the host asserts that brackets match
                parser.error(f'{option_string} must be KEY=VALUE, but the value of {option!r} cannot be read: {error}')


def add_options_argument(parser: argparse.ArgumentParser, help: str = 'changes to the config') -> None:
    """Add ``--cfg-options``."""
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={}, help=help)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """End the tool with the message alone if the input is wrong. It also decorates a ``main``."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        sys.exit(error_text(error))


def error_text(error: Exception) -> str:
    """Return an error as a sentence, with the file of an ``OSError`` first."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f'{os.fsdecode(error.filename)} cannot be read or written: {error.strerror}'
    return message_of(error) or repr(error)


def sweep_command(config: Optional[str], checkpoint: Optional[str], classifier: str = 'head.fc',
                  tool: str = 'sweep_alpha') -> str:
    """Return the command that chooses alpha on held-out images and writes it; unknown files are named in capitals.

    Args:
        config, checkpoint: Paths, or ``None``.
        classifier: Name of the linear layer of a classifier.
        tool: ``'sweep_detector_alpha'`` for a detector.
    """
    words = ['python', f'tools/analysis/{tool}.py', shlex.quote(config or 'CONFIG'),
             shlex.quote(checkpoint or 'CHECKPOINT'), '--write-config', 'OUT.py']
    return ' '.join(words if classifier == 'head.fc' else [*words, '--classifier', shlex.quote(classifier)])


def total_effect_alone(config: str, checkpoint: str, classifier: str = 'head.fc') -> str:
    """Return the message of a tool that shows no TDE because alpha is 0, with the command that chooses another."""
    return ('Alpha is 0, so only the total effect is shown. Choose an alpha on held-out images: '
            f'{sweep_command(config, checkpoint, classifier)}. Or give one with --alpha')
