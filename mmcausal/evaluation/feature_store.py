"""The inputs of a classifier layer for every image of a data set, on disk: alpha needs the network no more."""
import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Set, Tuple, Union

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor, nn

DTYPES = ('float32', 'float16')


@torch.no_grad()
def iterate_features(model: nn.Module, layer: nn.Module, dataloader: Iterable[Any]) -> Iterator[Tuple[Tensor, Tensor]]:
    """The inputs (N, D) of ``layer`` and the labels (N,) of each batch of a dataloader, on the CPU.

    Args:
        model: A classifier of MMPretrain that contains ``layer``, in evaluation mode.
        layer: The classifier layer.
        dataloader: Yields what ``model.test_step`` takes.
    """
    inputs: List[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0].float().cpu()))
    try:
        for batch in dataloader:
            samples = model.test_step(batch)
            yield inputs.pop(), torch.cat([sample.gt_label.cpu() for sample in samples])
    finally:
        handle.remove()


def collect_features(model: nn.Module, layer: nn.Module, dataloader: Iterable[Any]) -> Tuple[Tensor, Tensor]:
    """All features (N, D) and labels (N,) of a dataloader, in memory; arguments as in :func:`iterate_features`."""
    features, labels = zip(*iterate_features(model, layer, dataloader))
    return torch.cat(features), torch.cat(labels)


def hash_file(path: Union[str, Path]) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def hash_config(config: Any, ignore: Iterable[str] = ()) -> str:
    """SHA-256 of a part of a config without the settings named in ``ignore``, however deep they are."""
    return hashlib.sha256(json.dumps(_without(config, set(ignore)), sort_keys=True, default=str).encode()).hexdigest()


def _without(value: Any, ignore: Set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, ignore) for key, item in value.items() if key not in ignore}
    return [_without(item, ignore) for item in value] if isinstance(value, (list, tuple)) else value


def image_keys(dataset: Any) -> List[bytes]:
    """What tells the images of a data set apart: pixels of those in memory, hashed, and paths of others."""
    keys = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        in_memory = 'img_path' not in info
        keys.append(hashlib.sha256(np.ascontiguousarray(info['img']).tobytes()).digest() if in_memory else
                    os.path.realpath(info['img_path']).encode())
    return keys


def hash_dataset(dataset: Any) -> str:
    """SHA-256 of a data set's images (see :func:`image_keys`) and labels, in order.

    Files count with their size and time of change: to read them all would cost as much as the features. Those that are
    not on this machine's file systems count with their path alone.
    """
    digest = hashlib.sha256()
    for index, key in enumerate(image_keys(dataset)):
        info = dataset.get_data_info(index)
        digest.update(key + _file_version(info.get('img_path')) + str(_labels(info)).encode())
    return digest.hexdigest()


def _file_version(path: Optional[str]) -> bytes:
    if path is None or not os.path.exists(path):
        return b''
    status = os.stat(path)
    return f' {status.st_size} {status.st_mtime_ns} '.encode()


def _labels(info: Dict[str, Any]) -> Any:
    if 'gt_label' in info:
        return info['gt_label']
    return [(instance['bbox_label'], instance['bbox']) for instance in info['instances']]


def check_identity(folder: Path, identity: Dict[str, Any]) -> None:
    """Note in ``folder``, made where it is missing, what its features depend on.

    Raises:
        ValueError: A folder whose features depend on something else, or that is damaged or none.
    """
    file = folder / 'identity.json'
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'{folder} must be a folder for features, and is a file')
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(file, json.dumps(identity, indent=1))
        return
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f'{file} is damaged: {error}. Remove {folder}') from error
    for key in sorted(found.keys() | identity.keys()):
        if found.get(key) != identity.get(key):
            raise ValueError(f'{folder} holds features of another {key}: {found.get(key)!r}, wanted '
                             f'{identity.get(key)!r}. Remove it or name another folder')


def replace_text(file: Path, text: str) -> None:
    """Write a file whole: a run that is stopped here leaves the old text or the new one."""
    new = file.with_name(f'{file.name}.new')
    new.write_text(text)
    new.replace(file)


class FeatureStore:
    """Features (N, D) and labels (N,) in a folder, mapped into memory; what is not yet there is appended.

    Args:
        folder: Where the store is, or will be.
        identity: What the features depend on, e.g. hashes of checkpoint and data set.
        num_images: N.
        channels: D.
        dtype: ``'float32'``, or ``'float16'`` for half the space, which may move single predictions.

    Attributes:
        features: (N, D), of which the first ``num_done`` are filled.
        labels: (N,).

    Raises:
        ValueError: An unknown dtype, or a folder whose features depend on something else or are damaged.
    """

    def __init__(self, folder: Union[str, Path], identity: Dict[str, Any], num_images: int, channels: int,
                 dtype: str = 'float32') -> None:
        if dtype not in DTYPES:
            raise ValueError(f'dtype must be one of {DTYPES}, got {dtype!r}')
        self.folder = Path(folder)
        self.identity = dict(identity, num_images=num_images, channels=channels, dtype=dtype)
        check_identity(self.folder, self.identity)
        is_new = not (self.folder / 'num_done').exists()
        self.features = self._array('features.npy', is_new, dtype, (num_images, channels))
        self.labels = self._array('labels.npy', is_new, 'int64', (num_images, ))
        if is_new:
            self._write_done(0)
        with self._damage_named('num_done'):
            self.num_done = int((self.folder / 'num_done').read_text())

    def _array(self, name: str, is_new: bool, dtype: str, shape: Tuple[int, ...]) -> np.memmap:
        if is_new:
            return open_memmap(self.folder / name, 'w+', dtype, shape)
        with self._damage_named(name):
            # To write, NumPy would lengthen a file that was cut short, with zeros.
            found = open_memmap(self.folder / name, 'r').shape
            if found != shape:
                raise ValueError(f'it has shape {found}, not {shape}')
            return open_memmap(self.folder / name, 'r+')

    @contextlib.contextmanager
    def _damage_named(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise ValueError(f'{self.folder / name} is damaged: {error}. Remove {self.folder}') from error

    def _write_done(self, num_done: int) -> None:
        replace_text(self.folder / 'num_done', str(num_done))
        self.num_done = num_done

    @property
    def is_complete(self) -> bool:
        """Whether the features of all images are there."""
        return self.num_done == len(self.labels)

    def append(self, features: Tensor, labels: Tensor) -> None:
        """Add features (n, D) and labels (n,) of the next n images.

        Raises:
            ValueError: More images than are missing, another shape, or features that are not finite in this precision.
        """
        if features.shape != (len(labels), self.features.shape[1]):
            raise ValueError(f'features must have shape ({len(labels)}, {self.features.shape[1]}), got '
                             f'{tuple(features.shape)}')
        with np.errstate(over='ignore'):
            stored = features.numpy().astype(self.features.dtype)
        if not np.isfinite(stored).all():
            row = self.num_done + int(np.flatnonzero(~np.isfinite(stored).all(1))[0])
            raise ValueError(f'the features of image {row} are not finite in {stored.dtype}')
        end = self.num_done + len(labels)
        if end > len(self.labels):
            raise ValueError(f'{self.folder} lacks {len(self.labels) - self.num_done} images, got {len(labels)}')
        self.features[self.num_done:end] = stored
        self.labels[self.num_done:end] = labels.numpy()
        self.features.flush()
        self.labels.flush()
        self._write_done(end)
