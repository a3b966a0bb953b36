"""Configs that come with the package."""
import difflib
from pathlib import Path

ROOT = Path(__file__).parent / '.mim' / 'configs'


def config_path(name: str) -> str:
    """Return the path of a config of this package, as the base of a config of yours.

    MMEngine's ``package::config`` knows the packages of OpenMMLab alone, but evaluates ``_base_`` as Python.

    Args:
        name: Path below ``configs/``, e.g. ``'cifar100_lt/linear_r32_ir100.py'``.

    Raises:
        ValueError: No such config; it suggests the nearest.

    Example:
        In a config: ``_base_ = __import__('mmcausal').config_path('cifar100_lt/linear_r32_ir100.py')``
    """
    path = ROOT / name
    if not path.is_file():
        names = [config.relative_to(ROOT.resolve()).as_posix() for config in sorted(ROOT.resolve().rglob('*.py'))]
        nearest = difflib.get_close_matches(name, names, n=1)
        raise ValueError(f'{name!r} must be a config of mmcausal, below {ROOT}'
                         + (f'; did you mean {nearest[0]!r}?' if nearest else ''))
    return str(path.resolve())
