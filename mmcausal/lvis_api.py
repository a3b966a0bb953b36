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


def _with_annotations(load_json: Callable[[object, str], object], results: type) -> Callable[[object, str], object]:

    @functools.wraps(load_json)
    def load(self: object, path: str) -> object:
        if isinstance(self, results):  # they are a list
            return load_json(self, path)
        demand = f'ann_file must be an LVIS annotation file, but {path}'
        try:
            dataset = load_json(self, path)
        except ValueError as error:
            raise ValueError(f'{demand} is not JSON: {error}') from error
        if not isinstance(dataset, dict):
            raise ValueError(f'{demand} holds a {type(dataset).__name__}')
        return {'annotations': [], **dataset}

    return load


def repair_lvis_api() -> None:
    """Make lvis-api run on NumPy >= 1.24, open LVIS test sets, which have no annotations, and name damaged files."""
    if not is_installed('lvis'):
        return
    import lvis.eval
    if isinstance(lvis.eval.np, _NumpyWithFloat):
        return
    lvis.eval.np = _NumpyWithFloat()
    lvis.LVIS._load_json = _with_annotations(lvis.LVIS._load_json, lvis.LVISResults)
