"""Checks of arguments. Each returns its value, or raises a ``ValueError`` that names the value and the demand."""
import difflib
import math
import os
from numbers import Integral, Real
from typing import Collection, Iterable, TypeVar

_Name = TypeVar('_Name', bound=str)
_Value = TypeVar('_Value')


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'X'?"`` for the known name closest to ``name``, or an empty string."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean {nearest[0]!r}?' if nearest else ''


def is_number(value: object) -> bool:
    """Return whether ``value`` is a finite real number (booleans excluded)."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def is_integer(value: object) -> bool:
    """Return whether ``value`` is an integer (booleans excluded)."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_number(name: str, value: object, interval: str) -> float:
    """Return ``value`` as a float if it is a finite number in ``interval``.

    Args:
        name: Name of the argument, for the error.
        value: Value to check.
        interval: Bounds as in mathematics: ``'[0, 1)'`` includes 0 and excludes 1.

    Raises:
        ValueError: Not a number, not finite, or outside the interval.

    >>> check_number('momentum', 0.9, '[0, 1)')
    0.9
    """
    low, high = (float(bound) for bound in interval[1:-1].split(','))
    number = float(value) if is_number(value) else math.nan  # type: ignore[arg-type]
    above = number >= low if interval[0] == '[' else number > low
    below = number <= high if interval[-1] == ']' else number < high
    if not (above and below):
        demand = 'a finite number' if math.isinf(low) and math.isinf(high) else f'a number in {interval}'
        raise ValueError(f'{name} must be {demand}, but got {value!r}')
    return number


def check_integer(name: str, value: object, low: int) -> int:
    """Return ``value`` as an ``int`` if it is an integer of at least ``low``.

    Raises:
        ValueError: Not an integer, or below ``low``.
    """
    if not is_integer(value) or value < low:  # type: ignore[operator]
        raise ValueError(f'{name} must be an integer of at least {low}, but got {value!r}')
    return int(value)  # type: ignore[call-overload]


def check_seed(value: object) -> int:
    """Return ``value`` as an ``int`` if it seeds the generators of NumPy and PyTorch alike.

    Raises:
        ValueError: Not an integer in [0, 2**32).
    """
    seed = check_integer('seed', value, 0)
    if seed >= 2**32:
        raise ValueError(f'seed must be below 2**32, but got {value!r}')
    return seed


def check_flag(name: str, value: object) -> bool:
    """Return ``value`` if it is a boolean: texts such as ``'False'`` would count as true.

    Raises:
        ValueError: Another value.
    """
    if not isinstance(value, bool):
        raise ValueError(f'{name} must be True or False, but got {value!r}')
    return value


def check_config(name: str, value: _Value, *built: type) -> _Value:
    """Return ``value`` if it is a config of MMEngine, a dict with a ``type``, or an instance of a type in ``built``.

    Raises:
        ValueError: Another value.
    """
    is_config = isinstance(value, dict) and 'type' in value
    if not is_config and not isinstance(value, built):
        raise ValueError(f'{name} must be a config such as dict(type=...), but got {value!r}')
    return value


def check_path(name: str, value: object) -> str:
    """Return ``value`` as a string if it is the path of a file or folder.

    Raises:
        ValueError: Another value.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f'{name} must be a path, but got {value!r}')
    return os.fspath(value)


def check_choice(name: str, value: _Name, choices: Collection[str]) -> _Name:
    """Return ``value`` if it is one of ``choices``.

    Raises:
        ValueError: Another value.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f'{name} must be one of {sorted(choices)}, but got {value!r}')
    return value
