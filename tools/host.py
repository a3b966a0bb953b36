"""Find and run the script of the OpenMMLab package that a config belongs to, with errors that users can read."""
import argparse
import contextlib
import os
import re
import runpy
import sys
import sysconfig
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, List

import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS

import mmcausal
from mmcausal.checkpoint_files import safe_checkpoints
from mmcausal.checks import did_you_mean
from mmcausal.commands import add_options_argument, error_text
from mmcausal.config_files import read_config, scope_of
from mmcausal.encoding import use_utf8
from mmcausal.hosts import BUILT_ON_MMCV, is_installed
from mmcausal.processes import process_group

# Errors about the input, by the module that raises them: this package, the script, the Runner, or parts for configs
ON_PURPOSE = (OSError, ValueError, RuntimeError, KeyError, ImportError, AssertionError)
ABOUT_INPUT = {'mmcausal': ON_PURPOSE, __name__: ON_PURPOSE, '__main__': ON_PURPOSE,
               'mmengine.runner.runner': ON_PURPOSE, 'mmengine.registry': Exception, 'mmengine.config': Exception}
# Code that its user did not write, and functions of MMEngine that build what a config asks for
INSTALLED = ('<', *(f'{folder}{os.sep}' for folder in (
    *map(sysconfig.get_path, ('stdlib', 'purelib', 'platlib')),
    *(Path(file).resolve().parent for file in (__file__, mmcausal.__file__)))))
# Variables for the rank of a process, the number of processes, and the rank on its machine: Open MPI's and SLURM's
LAUNCHERS = dict(mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
                 slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'))
BUILDING = ('build', '__init__', 'from_cfg')
CONFIGS = ('.py', '.json', '.yaml', '.yml')  # that MMEngine reads; .py first, because outputs may be .json
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
        if is_about_input(error):
            sys.exit(error_text(error))
        if not is_of_building(error):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        sys.exit(f'{" ".join(sys.argv)} cannot be built from its config: {type(error).__name__}: {error} '
                 f'({place.filename}, line {place.lineno})')


def is_about_input(error: Exception) -> bool:
    """Return whether an error is about a file, an unknown setting of a component, or raised on purpose."""
    if isinstance(error, OSError) and error.filename or UNKNOWN_SETTING.search(str(error)):
        return True
    innermost = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    raised_in = innermost.f_globals.get('__name__', '')
    return any(_is_in(raised_in, module) and isinstance(error, kinds) for module, kinds in ABOUT_INPUT.items())


def is_of_building(error: Exception) -> bool:
    """Return whether installed packages alone failed, while MMEngine built what the config asks for."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    is_installed = all(frame.f_code.co_filename.startswith(INSTALLED) for frame in frames)
    return is_installed and any(_is_in(frame.f_globals.get('__name__', ''), 'mmengine')
                                and frame.f_code.co_name.startswith(BUILDING) for frame in frames)


def _is_in(name: str, module: str) -> bool:
    return name == module or name.startswith(f'{module}.')


def _run_host_script(name: str) -> None:
    config = next((argument for ending in CONFIGS for argument in sys.argv[1:] if argument.endswith(ending)), None)
    if config is None:
        if not {'-h', '--help'} & set(sys.argv[1:]):
            sys.exit(f'usage: {sys.argv[0]} CONFIG ...; other arguments are passed to tools/{name} of the package '
                     'that the config belongs to')
        scope = next(filter(is_installed, BUILT_ON_MMCV), BUILT_ON_MMCV[0])
        runpy.run_path(str(host_script(sys.argv[0], scope, name)), run_name='__main__')
        return
    cfg = read_config(config, options(sys.argv[1:]), needs=['model'])
    if name == 'train.py':
        check_optimizer(cfg)
    script = host_script(config, scope_of(cfg), name)
    with contextlib.ExitStack() as stack:
        if not torch.cuda.is_available() and is_rank():
            stack.enter_context(process_group())
            sys.argv = add_options(sys.argv, cpu_rank_options(cfg))
        runpy.run_path(str(script), run_name='__main__')


def is_rank() -> bool:
    """Return whether a launcher has started this process, and give it the environment that PyTorch reads.

    MMEngine does that for a rank with a GPU.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--launcher')
    launcher = parser.parse_known_args()[0].launcher
    if launcher in LAUNCHERS:
        missing = [name for name in LAUNCHERS[launcher] if name not in os.environ]
        if missing:
            sys.exit(f'--launcher {launcher} is for processes of Open MPI or SLURM, but {missing[0]} is not set')
        if launcher == 'slurm' and os.environ.get('SLURM_NNODES', '1') != '1' and 'MASTER_ADDR' not in os.environ:
            sys.exit('CPU ranks on several machines need MASTER_ADDR, the name of the first, but it is not set')
        for name, source in zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), LAUNCHERS[launcher]):
            os.environ[name] = os.environ[source]
        for name, value in (('MASTER_ADDR', '127.0.0.1'), ('MASTER_PORT', '29500')):
            os.environ.setdefault(name, value)
    return 'LOCAL_RANK' in os.environ


def options(arguments: List[str]) -> dict:
    """Return the changes of ``--cfg-options``; end with the usage if they are not ``KEY=VALUE``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_options_argument(parser)
    return parser.parse_known_args(arguments)[0].cfg_options


def check_optimizer(cfg: Config) -> None:
    """Raise ``ValueError`` for an unknown optimiser: MMEngine's own error has no name in it."""
    part: object = cfg
    for key in ('optim_wrapper', 'optimizer', 'type'):
        part = part.get(key) if isinstance(part, (dict, Config)) else None
    with OPTIMIZERS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        if isinstance(part, str) and registry.get(part) is None:
            raise ValueError(f'optim_wrapper.optimizer.type must be an optimizer of MMEngine or of {registry.scope}, '
                             f'but got {part!r}' + did_you_mean(part, {*registry.module_dict, *OPTIMIZERS.module_dict}))


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
