"""Comparison of a checkpoint with the model that loads it."""
from typing import Dict, List, Mapping, Tuple

from torch import Tensor

Shapes = Dict[str, Tuple[int, ...]]
MOST_LISTED = 3


def shapes_of(state: Mapping[str, Tensor], prefix: str = '', suffix: str = '') -> Shapes:
    """Return the shapes of the entries that start with ``prefix`` and end with ``suffix``, by name."""
    return {name: tuple(value.shape) for name, value in state.items()
            if name.startswith(prefix) and name.endswith(suffix)}


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


def check_checkpoint(model: str, clauses: List[str], remedy: str = '') -> None:
    """Raise ``ValueError`` if there are differences.

    Args:
        model: Name of the model, for the error.
        clauses: Its :func:`differences` from the checkpoint.
        remedy: Advice at the end of the error.
    """
    if clauses:
        more = f' and {len(clauses) - MOST_LISTED} more' if len(clauses) > MOST_LISTED else ''
        raise ValueError(f'the checkpoint is not one of this {model}: {"; ".join(clauses[:MOST_LISTED])}{more}{remedy}')
