"""Reading of checkpoints, also from strangers: nothing in them is run, and errors name the file."""
import contextlib
import pickle
import tarfile
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Union

import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_local as host_load_from_local
from torch import Tensor

from mmcausal.safe_pickle import ARRAYS, ArrayUnpickler, UnsafePickleError

MapLocation = Union[str, torch.device, Callable, None]
ZIP_START = b'PK'
REMEDY = ('. If you trust it, keep its weights alone: torch.save(torch.load(PATH, weights_only=False)["state_dict"], '
          'NEW_PATH)')


def _history_method(owner: type, name: str) -> Callable:
    """Stand in for ``getattr``, by which MMEngine's log history names its own statistics."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise UnsafePickleError(f'it holds the attribute {name} of {owner}, which could run code')
    return getattr(owner, name)


class CheckpointUnpickler(ArrayUnpickler):
    """Unpickler of what PyTorch and MMEngine save in a checkpoint: tensors, settings and the history of the log."""
    allowed: Dict[str, Any] = {
        **ARRAYS,
        **{f'{module}.{kind.__name__}': kind for module in ('builtins', '__builtin__')
           for kind in (list, dict, set, frozenset, tuple, int, float, complex, bytearray, slice)},
        'builtins.getattr': _history_method,
        '__builtin__.getattr': _history_method,
        'collections.OrderedDict': OrderedDict,
        'collections.Counter': Counter,
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'mmcausal.datasets.class_counts.TrainingCounts': list,  # in checkpoints from before 0.1
        'torch.Size': torch.Size,
        'torch.device': torch.device,
        **{str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)},
        **{f'torch._utils.{name}': getattr(torch._utils, name)
           for name in ('_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter')},
    }


# As torch.load wants it
_PICKLE = SimpleNamespace(__name__=__name__, Unpickler=CheckpointUnpickler,
                          load=lambda file, **kwargs: CheckpointUnpickler(file, **kwargs).load())


def load_from_local(filename: str, map_location: MapLocation = 'cpu') -> dict:
    """Load a checkpoint from a file without running anything in it.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A file that is empty, truncated, damaged or no checkpoint, or that holds more than weights,
            settings and the history of the log.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'{path} must be a checkpoint, but {"is a folder" if path.is_dir() else "is missing"}')
    fault = _fault_of(path)
    if fault:
        raise ValueError(f'{path} must be a checkpoint, but {fault}')
    try:
        checkpoint = _load(path, map_location)
    except UnsafePickleError as error:
        raise ValueError(f'{path} is not loaded, because {error}{REMEDY}') from error
    except Exception as error:  # unpickling other bytes can raise anything
        raise ValueError(f'{path} must be a checkpoint, but cannot be read as one: {error!r}') from error
    if not _has_weights(checkpoint):
        keys = f' with {[*map(str, checkpoint)][:5]}' if isinstance(checkpoint, Mapping) else ''
        raise ValueError(f'{path} must be a checkpoint, but holds a {type(checkpoint).__name__}{keys} and no weights')
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)  # MMEngine would run it when a training goes on
    return checkpoint


def _load(path: Path, map_location: MapLocation) -> Any:
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:  # e.g. MMEngine's log history, of which PyTorch knows nothing
        return torch.load(path, map_location=map_location, weights_only=False, pickle_module=_PICKLE)


def _fault_of(path: Path) -> Optional[str]:
    """Return what is wrong with the bytes of a checkpoint, or ``None``: PyTorch compares no check sums."""
    with open(path, 'rb') as file:
        start = file.read(len(ZIP_START))
    if not start:
        return 'is empty'
    if start != ZIP_START:  # of PyTorch before 1.6, or before 0.1.10: PyTorch reads the latter with less care
        return 'is a tar archive' if tarfile.is_tarfile(path) else None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if any(Path(name).name == 'constants.pkl' for name in archive.namelist()):
                return 'is a TorchScript program'
    except zipfile.BadZipFile:
        return 'is truncated'
    return f'is damaged: {damaged} has another check sum' if damaged else None


def _has_weights(checkpoint: Any) -> bool:
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else None
    return isinstance(state, Mapping) and any(isinstance(value, Tensor) for value in state.values())


@contextlib.contextmanager
def safe_checkpoints() -> Iterator[None]:
    """Let MMEngine read checkpoints of this machine by :func:`load_from_local` within this context."""
    CheckpointLoader.register_scheme('', load_from_local, force=True)
    try:
        yield
    finally:
        CheckpointLoader.register_scheme('', host_load_from_local, force=True)


def read_checkpoint(source: str) -> dict:
    """Read a checkpoint from a file, without running anything in it, or from where the host knows (URLs)."""
    with safe_checkpoints():
        return CheckpointLoader.load_checkpoint(source, map_location='cpu')
