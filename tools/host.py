"""Find the script of the OpenMMLab package that a config belongs to."""
import argparse
import contextlib
import os
import re
import runpy
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, List

import torch
from mmengine.config import Config

from mmcausal.checkpoint_files import safe_checkpoints
from mmcausal.commands import add_options_argument, error_text
from mmcausal.config_files import read_config
from mmcausal.encoding import use_utf8

HOSTS = ('mmpretrain', 'mmdet')
# Errors about the input, by the module that raises them: this package, the script, the Runner, or parts for configs
ON_PURPOSE = (OSError, ValueError, RuntimeError, KeyError, ImportError, AssertionError)
ABOUT_INPUT = {'mmcausal': ON_PURPOSE, '__main__': ON_PURPOSE, 'mmengine.runner.runner': ON_PURPOSE,
               'mmengine.registry': Exception, 'mmengine.config': Exception}
UNKNOWN_SETTING = re.compile(r'__init__\(\) (got an unexpected keyword|missing \d+ required)')


def run_host_script(name: str) -> None:
    """Run ``tools/{name}`` of the package in the config's ``default_scope``, with this process's arguments.

    Without a config, ``--help`` shows the help of the first host installed: the hosts take the same arguments.

    Raises:
        SystemExit: No config among the arguments, or a package that is not installed.
    """
    use_utf8()
    with safe_checkpoints(), errors_about_input():
        _run_host_script(name)


@contextlib.contextmanager
def errors_about_input() -> Iterator[None]:
    """End with the message alone for an error about a file, the arguments or the config; others keep a traceback."""
    try:
        yield
    except Exception as error:
        if not is_about_input(error):
            raise
        sys.exit(error_text(error))


def is_about_input(error: Exception) -> bool:
    """Return whether an error is about a file, an unknown setting of a component, or raised on purpose."""
    if isinstance(error, OSError) and error.filename or UNKNOWN_SETTING.search(str(error)):
        return True
    innermost = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    raised_in = innermost.f_globals.get('__name__', '')
    return any(raised_in.startswith(module) and isinstance(error, kinds) for module, kinds in ABOUT_INPUT.items())


def _run_host_script(name: str) -> None:
    config = next((argument for argument in sys.argv[1:] if argument.endswith('.py')), None)
    if config is None:
        if not {'-h', '--help'} & set(sys.argv[1:]):
            sys.exit(f'usage: {sys.argv[0]} CONFIG.py ...; other arguments are passed to tools/{name} of the package '
                     'that the config belongs to')
        scope = next(filter(find_spec, HOSTS), HOSTS[0])
        runpy.run_path(str(host_script(sys.argv[0], scope, name)), run_name='__main__')
        return
    check_options(sys.argv[1:])
    cfg = read_config(config, needs=['model'])
    script = host_script(config, cfg.get('default_scope', 'mmengine'), name)
    is_cpu_rank = 'LOCAL_RANK' in os.environ and not torch.cuda.is_available()
    if is_cpu_rank:
        torch.distributed.init_process_group('gloo')
        sys.argv = add_options(sys.argv, cpu_rank_options(cfg))
    try:
        runpy.run_path(str(script), run_name='__main__')
    finally:
        if is_cpu_rank:
            torch.distributed.destroy_process_group()  # its threads may abort a process that ends with them


def check_options(arguments: List[str]) -> None:
    """End with the usage if ``--cfg-options`` are not ``KEY=VALUE``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_options_argument(parser)
    parser.parse_known_args(arguments)


def host_script(user: str, scope: str, name: str) -> Path:
    """Return the path of ``tools/{name}`` of the package ``scope``; exit and name its ``user`` if it has none."""
    spec = find_spec(scope)
    if spec is None or spec.origin is None:
        sys.exit(f'{user} belongs to {scope}, which is not installed')
    script = Path(spec.origin).parent / '.mim' / 'tools' / name
    if not script.exists():
        sys.exit(f'{user} belongs to {scope}, which has no {script}')
    return script


def cpu_rank_options(cfg: Config) -> List[str]:
    """Return options for MMEngine's own model wrapper, which otherwise assumes a GPU per rank."""
    return [
        'model_wrapper_cfg.type=MMDistributedDataParallel',
        'model_wrapper_cfg.device_ids=None',
        'model_wrapper_cfg.broadcast_buffers=False',
        f"model_wrapper_cfg.find_unused_parameters={cfg.get('find_unused_parameters', False)}",
    ]


def add_options(arguments: List[str], options: List[str]) -> List[str]:
    """Return the command line with more ``--cfg-options``; the user's own come later and take precedence."""
    if '--cfg-options' not in arguments:
        return [*arguments, '--cfg-options', *options]
    here = arguments.index('--cfg-options') + 1
    return arguments[:here] + options + arguments[here:]
