"""The packages that mmcausal plugs into. Each is optional; the versions are those known to work."""
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Dict, Tuple

# host: lowest version, first version that is too new, how to get it. tools/setup_env.sh installs a set that fits.
HOSTS: Dict[str, Tuple[str, str, str]] = {
    'mmengine': ('0.10.0', '1.0.0', 'pip install mmengine'),
    'mmcv': ('2.0.0', '2.4.0', 'pip install mmcv-lite, or mmcv with its compiled operators for detection'),
    'mmpretrain': ('1.2.0', '2.0.0', 'pip install mmpretrain'),
    'mmdet': ('3.3.0', '4.0.0', 'pip install mmdet'),
}
# The maintained forks have the same modules under other names.
FORKS = {host: f'onedl-{host}' for host in HOSTS}
FORKS['mmdet'] = 'onedl-mmdetection'
BUILT_ON_MMCV = ('mmpretrain', 'mmdet')


def is_installed(host: str) -> bool:
    """Return whether the package is installed, in any version."""
    return find_spec(host) is not None


def require_packages(user: str, *packages: str) -> None:
    """Raise ``ImportError`` unless all packages that ``user`` needs are installed; it names those that are missing."""
    missing = [package for package in packages if not is_installed(package)]
    if missing:
        raise ImportError(f'{user} needs {" and ".join(missing)}. Run: pip install {" ".join(missing)}')


def require_host(host: str) -> None:
    """Raise ``ImportError`` unless the host is usable; it names the host, the version found and the range supported."""
    lowest, too_new, remedy = HOSTS[host]
    wanted = f'mmcausal needs {host}>={lowest},<{too_new} for this'
    if not is_installed(host):
        raise ImportError(f'{wanted}, but it is not installed. Run: {remedy}')
    fork = FORKS[host]
    if _is_distribution(host) and _is_distribution(fork):
        raise ImportError(f'{wanted}, but {host} and its fork {fork} are both installed and overwrite one another. '
                          f'Run: pip uninstall {host} {fork}, then install one of them')
    if host in BUILT_ON_MMCV:
        require_host('mmcv')
    try:
        found = import_module(host).__version__
    except AssertionError as error:  # how OpenMMLab's packages refuse a release of one another
        raise ImportError(f'{wanted}, but {host} cannot be imported: {error}') from error
    if not _release(lowest) <= _release(found) < _release(too_new):
        raise ImportError(f'{wanted}, but found {host} {found}. Run: {remedy}')
    if host == 'mmdet' and not is_installed('mmcv._ext'):
        raise ImportError('mmcausal needs mmcv with its compiled operators for mmdet, but found one without them. Run: '
                          f'{HOSTS["mmcv"][2]}')


def is_usable(host: str) -> bool:
    """Return whether components for the host can be imported; :func:`require_host` says why not."""
    try:
        require_host(host)
    except ImportError:
        return False
    return True


def _is_distribution(name: str) -> bool:
    """Return whether pip has installed a distribution of this name."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _release(version: str) -> Tuple[int, ...]:
    """Return the leading numbers of a version: '1.2.0rc1' -> (1, 2, 0)."""
    numbers = []
    for part in version.split('.')[:3]:
        digits = part[:len(part) - len(part.lstrip('0123456789'))]
        numbers.append(int(digits or 0))
    return tuple(numbers)
