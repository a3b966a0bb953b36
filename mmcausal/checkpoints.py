"""Comparison of a checkpoint with the model that loads it, and with the data that the model is to classify."""
import re
import unicodedata
from collections import Counter
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from torch import Tensor, nn

Shapes = Dict[str, Tuple[int, ...]]
MOST_LISTED = 3
OTHER_NETWORK = '. It belongs to another network'
OTHER_CLASSES = '. You can fine-tune from it, by load_from, but not test it here'


def shapes_of(state: Mapping[str, Tensor], prefix: str = '', suffix: str = '') -> Shapes:
    """Return the shapes of the entries that start with ``prefix`` and end with ``suffix``, by name."""
    return {name: tuple(value.shape) for name, value in state.items()
            if name.startswith(prefix) and name.endswith(suffix) and isinstance(value, Tensor)}


def check_finite(entries: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError`` if a value of some entries of a checkpoint is nan or infinite."""
    for name, value in entries.items():
        if value.is_floating_point() and not value.isfinite().all():
            number = value.numel() - int(value.isfinite().sum())
            raise ValueError(f'a checkpoint must have finite values, but {number} of {value.numel()} in {name} are nan '
                             'or infinite: its training diverged, or the file is damaged')


def leave_out(state: Dict[str, Tensor], prefix: str) -> None:
    """Remove the entries that start with ``prefix``."""
    for name in [name for name in state if name.startswith(prefix)]:
        del state[name]


def differences(own: Shapes, saved: Shapes) -> List[str]:
    """Return a clause for each entry that a model and a checkpoint do not share."""
    clauses = []
    for name in [*own, *(name for name in saved if name not in own)]:
        if name not in saved:
            clauses.append(f'{name} has shape {own[name]} here, but is not in the checkpoint')
        elif name not in own:
            clauses.append(f'{name} has shape {saved[name]} in the checkpoint, but is not here')
        elif own[name] != saved[name]:
            clauses.append(f'{name} has shape {own[name]} here, but {saved[name]} in the checkpoint')
    return clauses


def weights_of(checkpoint: Mapping) -> Dict[str, Tensor]:
    """Return the entries of a checkpoint, with the same names inside and outside a test-time wrapper."""
    return {bare_name(name): value for name, value in checkpoint.get('state_dict', checkpoint).items()}


def missing_parameters(model: nn.Module, state: Mapping[str, Tensor]) -> List[str]:
    """Return a clause for each parameter of a model that a checkpoint lacks or has in another shape.

    A head direction is no parameter.
    """
    own = {bare_name(name): tuple(parameter.shape) for name, parameter in model.named_parameters()}
    saved = shapes_of(state)
    return differences(own, {name: saved[name] for name in own if name in saved})


def bare_name(name: str) -> str:
    """Return the name of an entry without the prefix of a wrapper."""
    return name[len('module.'):] if name.startswith('module.') else name


def renamed_classes(own: Sequence[str], saved: Sequence[str], source: str = 'the checkpoint') -> List[str]:
    """Return a clause for each class that has another name in ``source``; none unless both name as many classes.

    Case, white space, ``_`` and ``-`` make no other name.
    """
    if len(own) != len(saved):
        return []
    return [f'class {label} is {here!r} here, but {there!r} in {source}'
            for label, (here, there) in enumerate(zip(own, saved)) if _spelled_alike(here) != _spelled_alike(there)]


def moved_classes(own: Sequence[str], saved: Sequence[str], source: str = 'the checkpoint') -> List[str]:
    """Return a clause for each name that has another label in ``source``.

    Names that stand for several classes are left out.
    """
    here, there = _labels(own), _labels(saved)
    return [f'{own[label]!r} is class {label} here, but class {there[name]} in {source}'
            for name, label in here.items() if there.get(name, label) != label]


def _spelled_alike(name: str) -> str:
    return re.sub(r'[\s_-]+', '', unicodedata.normalize('NFKC', name).casefold()) or name


def _labels(names: Sequence[str]) -> Dict[str, int]:
    alike = [_spelled_alike(name) for name in names]
    numbers = Counter(alike)
    return {name: label for label, name in enumerate(alike) if numbers[name] == 1}


def summary(clauses: Sequence[str]) -> str:
    """Return the first clauses as one, and the number of the others."""
    more = f' and {len(clauses) - MOST_LISTED} more' if len(clauses) > MOST_LISTED else ''
    return '; '.join(clauses[:MOST_LISTED]) + more


def check_checkpoint(model: str, clauses: Sequence[str], remedy: str = '', source: Optional[str] = None) -> None:
    """Raise ``ValueError`` if there are differences.

    Args:
        model: Name of the model, for the error.
        clauses: Its :func:`differences` from the checkpoint.
        remedy: Advice at the end of the error.
        source: Path of the checkpoint.
    """
    if clauses:
        path = f' {source}' if source else ''
        raise ValueError(f'the checkpoint{path} is not one of this {model}: {summary(clauses)}{remedy}')
