"""Configs that come with the package."""
import difflib
from pathlib import Path

ROOT = (Path(__file__).parent / '.mim' / 'configs').resolve()


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
        nearest = difflib.get_close_matches(name, names, n=1)
        suggestion = f'; did you mean {nearest[0]!r}?' if nearest else ''
        raise ValueError(f'name must be one of the {len(names)} configs of mmcausal, but got {name!r}{suggestion}')
    return str(ROOT / name)
