"""Unpickling that runs nothing: of the classes and functions that a pickle names, only known ones are found."""
import codecs
import pickle
from typing import Any, Dict

import numpy as np

# How arrays and numbers are pickled: NumPy 1 and 2 have these functions in different modules
_NUMPY = {'multiarray._reconstruct': np.empty(0).__reduce__()[0],
          'multiarray.scalar': np.float64(0).__reduce__()[0],
          'numeric._frombuffer': np.empty(0).__reduce_ex__(5)[0]}
ARRAYS: Dict[str, Any] = {
    'numpy.ndarray': np.ndarray,
    'numpy.dtype': np.dtype,
    **{f'numpy.{core}.{name}': function for core in ('core', '_core') for name, function in _NUMPY.items()},
    # How bytes are pickled for Python 2
    '_codecs.encode': codecs.encode,
    '__builtin__.bytes': bytes,
}


class UnsafePickleError(pickle.UnpicklingError):
    """A pickle that names something which could run code."""


class ArrayUnpickler(pickle.Unpickler):
    """Unpickler of text, numbers, bytes, lists, dictionaries and NumPy arrays alone.

    Attributes:
        allowed: What a pickle may name.

    Raises:
        UnsafePickleError: In :meth:`load`, for a pickle that names anything else.
    """
    allowed: Dict[str, Any] = ARRAYS

    def find_class(self, module: str, name: str) -> Any:
        found = self.allowed.get(f'{module}.{name}')
        if found is None:
            raise UnsafePickleError(f'it holds a {module}.{name}, which could run code')
        return found
