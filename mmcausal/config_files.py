"""Configs: those that come with the package, what one of your own may call, and how they are read."""
import contextlib
import copy
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional, Sequence, Union

from mmcausal.checks import check_integer, did_you_mean
from mmcausal.hosts import BUILT_ON_MMCV

if TYPE_CHECKING:
    from mmengine.config import Config

ROOT = (Path(__file__).parent / '.mim' / 'configs').resolve()
# Settings that MMEngine and the hosts read, beside the arguments of Runner
OTHER_SETTINGS = ('tta_model', 'tta_pipeline', 'model_wrapper_cfg', 'find_unused_parameters', 'sync_bn', 'compile',
                  'strategy', 'activation_checkpointing', 'efficient_conv_bn_eval', 'runner_type')


def read_config(path: Union[str, Path], options: Optional[dict] = None, needs: Sequence[str] = ()) -> 'Config':
    """Read a config, with changes. A config is a Python program, so read only configs that you trust.

    Args:
        path: File of the config.
        options: Changes, as ``--cfg-options``.
        needs: Settings that it must have.

    Raises:
        FileNotFoundError: No such file; suggests the closest name in its folder.
        ValueError: A config that cannot be read, options that do not fit it, or a setting that it lacks.
    """
    from mmengine.config import Config  # not needed by the configs that import this module
    if not Path(path).is_file():
        file = Path(path)
        near = did_you_mean(file.name, [each.name for each in file.parent.glob(f'*{file.suffix}')])
        raise FileNotFoundError(f'{path} must be a config, but is {"a folder" if file.is_dir() else "missing" + near}')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a program can raise anything
        raise ValueError(f'{path} must be a config that can be read, but {_described(error)}') from error
    if options:
        merge_options(cfg, options, path)
    for name in needs:
        value = cfg.get(name)
        if not isinstance(value, dict) and not (value and name.endswith('_evaluator')):
            raise ValueError(f'{path} must have {name}=dict(...), but has {value!r}')
    return cfg


def merge_options(cfg: 'Config', options: dict, path: Union[str, Path]) -> None:
    """Change a config as ``--cfg-options`` do.

    Raises:
        ValueError: Options that do not fit, or one whose name is nearly that of a setting: MMEngine takes any name, and
            one that nothing reads would leave the setting as it is.
    """
    from mmengine.runner import Runner
    known = {*cfg, *inspect.signature(Runner).parameters, *OTHER_SETTINGS}
    for option in options:
        name = option.split('.')[0]
        near = '' if name in known else did_you_mean(name, known)
        if near:
            raise ValueError(f'--cfg-options {option} must be a setting of {path}, but it has no {name!r}{near}')
    with errors_naming(f'--cfg-options {options} must fit {path}'):
        cfg.merge_from_dict(options)


def scope_of(cfg: 'Config') -> str:
    """Return the package of the components that a config names without one: its ``default_scope``, or the model's.

    Configs in Python style have classes instead of names, or in dumped ones the paths of classes, and no scope.
    """
    from mmengine.utils import get_object_from_string
    if cfg.get('default_scope'):
        return str(cfg.default_scope)
    kind = (cfg.get('model') or {}).get('type')
    kind = get_object_from_string(kind) if isinstance(kind, str) and '.' in kind else kind
    packages = [each.__module__.partition('.')[0] for each in getattr(kind, '__mro__', ())]
    return next((package for package in packages if package in BUILT_ON_MMCV), 'mmengine')


@contextlib.contextmanager
def errors_naming(demand: str) -> Iterator[None]:
    """Raise ``ValueError`` that starts with ``demand`` for errors in this context.

    Hosts raise errors of every type for a setting that they cannot use. Those of files and of missing packages say
    enough, and stay.
    """
    try:
        yield
    except (OSError, ImportError):
        raise
    except Exception as error:
        raise ValueError(f'{demand}, but {_described(error)}') from error


def message_of(error: Exception) -> str:
    """Return the message of an error, which ``str`` of a ``KeyError`` puts between quotes."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def _described(error: Exception) -> str:
    text = message_of(error)
    return text if type(error) in (ValueError, RuntimeError) else f'{type(error).__name__}: {text}'


def config_path(name: str) -> str:
    """Return the path of a config of this package, to use as ``_base_`` in your own config.

    MMEngine's ``package::config`` knows the packages of OpenMMLab alone, but evaluates ``_base_`` as Python.

    Args:
        name: Path below ``configs/``, e.g. ``'cifar100_lt/linear_r32_ir100.py'``.

    Raises:
        ValueError: If no such config exists; suggests the closest name.

    Example:
        In a config: ``_base_ = __import__('mmcausal').config_path('cifar100_lt/linear_r32_ir100.py')``
    """
    names = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.rglob('*.py'))]
    if name not in names:
        raise ValueError(f'name must be one of the {len(names)} configs of mmcausal, but got {name!r}'
                         + did_you_mean(name, names))
    return str(ROOT / name)


def with_num_classes(model: dict, num_classes: int) -> dict:
    """Return a copy of a model's config in which all heads have ``num_classes`` classes, e.g. those of a cascade.

    Losses that know the number follow too. Region proposals (``rpn_head``), which only know objects, and a
    ``semantic_head``, which has classes of its own, stay as they are.

    Raises:
        ValueError: Not a positive integer, or a model without any ``num_classes``.

    Example:
        In a config: ``model = __import__('mmcausal').with_num_classes(_base_.model, 6)``
    """
    check_integer('num_classes', num_classes, 1)
    changed = copy.deepcopy(model)
    heads = list(_parts_with_classes(changed))
    if not heads:
        raise ValueError(f'model must have a head with num_classes, but got {model}')
    for head in heads:
        head['num_classes'] = num_classes
    return changed


def _parts_with_classes(part: Union[dict, list, str, float, None]) -> Iterator[dict]:
    if isinstance(part, dict):
        if 'num_classes' in part:
            yield part
        part = [value for key, value in part.items() if key not in ('rpn_head', 'semantic_head')]
    if isinstance(part, (list, tuple)):
        for item in part:
            yield from _parts_with_classes(item)
