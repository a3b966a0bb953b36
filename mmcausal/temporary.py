"""Attributes that an object has for a while."""
import contextlib
from typing import Iterator

__all__ = ['temporarily']


@contextlib.contextmanager
def temporarily(owner: object, **values: object) -> Iterator[None]:
    """Give an object or module other values of its attributes within this context.

    Raises:
        AttributeError: An attribute that the object does not have; none is changed.
    """
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
