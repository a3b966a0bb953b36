"""Configs that infer with a chosen alpha, so that tests, tools and inferencers all use the same one."""
import os
from pathlib import Path
from typing import Iterator, List, Union

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmcausal.config_files import read_config, scope_of
from mmcausal.files import check_output, write_text
from mmcausal.models.enable_tde import alpha_of, without_wrappers
from mmcausal.models.layers import Alpha, DetectionDeconfoundLinear, check_alpha

WRAPPERS = ('TDEClassifierTTA', 'TDEDetectorTTA')


def write_alpha_config(config: str, alpha: Alpha, out: Union[str, Path], classifier: str = 'head.fc',
                       reason: str = '', overwrite: bool = False) -> None:
    """Write a config that inherits from ``config`` and infers with ``alpha``, also under ``--tta``.

    Alpha goes to the head, to its classifier layer, to the RoI head or to the wrapper that the config has, wherever the
    model takes it. A stock model is put into :class:`mmcausal.models.TDEClassifierTTA` or
    :class:`mmcausal.models.TDEDetectorTTA`; such a config tests and predicts, but does not train.

    Args:
        config: Config of the model.
        alpha: Trade-off of Eq. 8, or ``'auto'``.
        out: New file, ending in ``.py``.
        classifier: Name of the classifier layer, see :func:`mmcausal.models.enable_tde`. Detectors have their own.
        reason: Comment at the top of the file, one line.
        overwrite: Whether to replace ``out`` if it exists.

    Raises:
        ValueError: An alpha out of range; a file that exists, is ``config`` itself or does not end in ``.py``; or a
            config from which no such config follows.
        OSError: The file cannot be written.
    """
    alpha, out = check_alpha(alpha), check_output(check_config_name(out), [config], overwrite)
    cfg = read_config(config, needs=['model'])
    if not isinstance(cfg.model['type'], str):
        raise ValueError(f'{config} must name its types as text, to be inherited from, but is a config of pure Python '
                         f'(read_base): set alpha={alpha!r} in it')
    base = Path(config).absolute()  # a link has its bases beside itself
    errors = []
    for change in _changes(cfg, alpha, classifier):
        try:
            if set(configured_alphas(Config.fromstring(_text(base, change), '.py'), classifier)) == {alpha}:
                break
            errors.append(f'{change[0]} has no effect')
        except Exception as error:  # hosts raise various types; the next place may do
            errors.append(f'{change[0]} fails: {error}')
    else:
        raise ValueError(f'no config with alpha={alpha!r} follows from {config}: {"; ".join(errors)}')
    relative = Path(os.path.relpath(base, out.parent.resolve()))
    write_text(out, f'# {reason}\n' * bool(reason) + _text(relative, change))


def check_config_name(out: Union[str, Path]) -> Path:
    """Return the path of a config.

    Raises:
        ValueError: A name that does not end in ``.py``.
    """
    if Path(out).suffix != '.py':
        raise ValueError(f'a config must end in .py, but got {out}')
    return Path(out)


def configured_alphas(cfg: Config, classifier: str = 'head.fc') -> List[Alpha]:
    """Build the model of a config, and return the alphas with which its classifiers infer: one, or one per stage."""
    init_default_scope(scope_of(cfg))
    return alphas_in(MODELS.build(cfg.model), classifier)


def alphas_in(model: nn.Module, classifier: str = 'head.fc') -> List[Alpha]:
    """Return the alphas with which the classifiers of a model infer: one, or one per stage of a detector."""
    model = without_wrappers(model)
    stages = [layer.alpha for layer in model.modules() if isinstance(layer, DetectionDeconfoundLinear)]
    return stages or [alpha_of(model, classifier)]


def _text(base: Path, change: List[str]) -> str:
    """Return the config that changes ``base``."""
    return '\n'.join([f'_base_ = {base.as_posix()!r}', *change, ''])


def _changes(cfg: Config, alpha: Alpha, classifier: str) -> Iterator[List[str]]:
    """Yield the lines that may set alpha in a config, the most specific first."""
    tta_model = cfg.get('tta_model') or {}
    yield [f'model = dict({_own_place(cfg.model, alpha)})',
           *([f'tta_model = dict(alpha={alpha!r})'] if 'alpha' in tta_model else [])]
    is_detector = 'roi_head' in cfg.model
    wrapper = f"type='mmcausal.{WRAPPERS[is_detector]}'"
    name = '' if classifier == 'head.fc' or is_detector else f', classifier={classifier!r}'
    preprocessor = ', data_preprocessor=_base_.model.data_preprocessor' if 'data_preprocessor' in cfg.model else ''
    yield [f'model = dict(_delete_=True, {wrapper}, alpha={alpha!r}{name}, module=_base_.model{preprocessor})',
           f'tta_model = dict({"_delete_=True, " * ("tta_model" in cfg)}{wrapper})']


def _own_place(model: dict, alpha: Alpha) -> str:
    """Return the change of a model by which its own classifiers get an alpha, if they are of this package."""
    if model['type'].split('.')[-1] in WRAPPERS:
        return f'alpha={alpha!r}'
    if 'roi_head' in model:
        return f'roi_head=dict(classifier=dict(alpha={alpha!r}))'
    if 'classifier' in (model.get('head') or {}):
        return f'head=dict(classifier=dict(alpha={alpha!r}))'
    return f'head=dict(alpha={alpha!r})'
