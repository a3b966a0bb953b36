"""Repairs of lvis-api 0.5.3 (the package ``lvis``), for the whole process."""
import functools
from typing import Callable

import numpy as np

from mmcausal.hosts import is_installed


class _NumpyWithFloat:
    """NumPy with the alias ``float``, which NumPy 1.24 removed."""
    float = float

    def __getattr__(self, name: str) -> object:
        return getattr(np, name)


def _with_annotations(load_json: Callable[[object, str], object]) -> Callable[[object, str], object]:

    @functools.wraps(load_json)
    def load(self: object, path: str) -> object:
        dataset = load_json(self, path)
        return {'annotations': [], **dataset} if isinstance(dataset, dict) else dataset

    return load


def repair_lvis_api() -> None:
    """Make lvis-api run on NumPy >= 1.24 and open the files of LVIS test sets, which have no annotations."""
    if not is_installed('lvis'):
        return
    import lvis.eval
    if isinstance(lvis.eval.np, _NumpyWithFloat):
        return
    lvis.eval.np = _NumpyWithFloat()
    lvis.LVIS._load_json = _with_annotations(lvis.LVIS._load_json)
