"""On-disk store of classifier inputs, so that alpha can be swept without running the network again."""
import contextlib
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Iterable, Iterator, List, Mapping, Optional, Sequence, Set, Tuple, Union

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from numpy.lib.format import dtype_to_descr, open_memmap, write_array_header_1_0
from torch import Tensor, nn

from mmcausal.checks import check_choice
from mmcausal.files import claim_space, replacing, write_text
from mmcausal.models.enable_tde import is_augmented

DTYPES = ('float32', 'float16')
Identity = Mapping[str, Union[str, int]]
# A part of a config
Value = Union[str, int, float, bool, None, dict, list, tuple]


@torch.no_grad()
def iterate_features(model: nn.Module, layer: nn.Module,
                     dataloader: Iterable[Union[dict, tuple]]) -> Iterator[Tuple[Tensor, Tensor]]:
    """Yield the inputs (N, D) of ``layer`` and the labels (N,) of each batch, on the CPU.

    Args:
        model: A classifier of MMPretrain that contains ``layer``, in evaluation mode.
        layer: The classifier layer.
        dataloader: Yields inputs of ``model.test_step``.

    Raises:
        ValueError: Several views of an image, whose merged scores do not follow from one feature.
    """
    inputs: List[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0].float().cpu()))
    try:
        for batch in dataloader:
            if is_augmented(batch):
                raise ValueError('features must be those of one view per image, but the pipeline has test-time '
                                 'augmentation (TestTimeAug), which merges scores; use a pipeline without it')
            inputs.clear()
            samples = model.test_step(batch)
            yield inputs[0], torch.cat([sample.gt_label.cpu() for sample in samples])
    finally:
        handle.remove()


def collect_features(model: nn.Module, layer: nn.Module,
                     dataloader: Iterable[Union[dict, tuple]]) -> Tuple[Tensor, Tensor]:
    """Return all features (N, D) and labels (N,) of a dataloader, in memory; see :func:`iterate_features`."""
    features, labels = zip(*iterate_features(model, layer, dataloader))
    return torch.cat(features), torch.cat(labels)


def hash_file(path: Union[str, Path]) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def hash_config(config: Value, ignore: Iterable[str] = ()) -> str:
    """Return the SHA-256 of a part of a config, without the settings in ``ignore`` at any depth.

    Backbone and neck enter whole: their ``alpha``, e.g. of an ELU, is no classifier's.
    """
    return hashlib.sha256(json.dumps(_without(config, set(ignore)), sort_keys=True, default=str).encode()).hexdigest()


def _without(value: Value, ignore: Set[str]) -> Value:
    if isinstance(value, dict):
        return {key: item if key in ('backbone', 'neck') else _without(item, ignore)
                for key, item in value.items() if key not in ignore}
    return [_without(item, ignore) for item in value] if isinstance(value, (list, tuple)) else value


def image_keys(dataset: BaseDataset) -> List[bytes]:
    """Return a key per image of a dataset: the hash of its pixels if they are in memory, else its path."""
    keys = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        in_memory = 'img_path' not in info
        keys.append(hashlib.sha256(np.ascontiguousarray(info['img']).tobytes()).digest() if in_memory else
                    os.path.realpath(info['img_path']).encode('utf-8', 'surrogateescape'))
    return keys


def hash_dataset(dataset: BaseDataset) -> str:
    """Return the SHA-256 of a dataset's images (see :func:`image_keys`), labels and ``proposal_file``, in order.

    Files enter with size and modification time, because reading them all would cost as much as the features. Remote
    files enter with their path alone.
    """
    digest = hashlib.sha256()
    for index, key in enumerate(image_keys(dataset)):
        info = dataset.get_data_info(index)
        digest.update(key + _file_version(info.get('img_path')) + str(_labels(info)).encode() + _proposals(info))
    return digest.hexdigest()


def _proposals(info: dict) -> bytes:
    """Return the boxes that an image has from a ``proposal_file``, for detectors without an RPN such as Fast R-CNN."""
    proposals = info.get('proposals', {})
    return b''.join(np.ascontiguousarray(proposals[name]).tobytes() for name in ('bboxes', 'scores')
                    if name in proposals)


def _file_version(path: Optional[str]) -> bytes:
    if path is None or not os.path.exists(path):
        return b''
    status = os.stat(path)
    return f' {status.st_size} {status.st_mtime_ns} '.encode()


def _labels(info: dict) -> Union[int, Sequence[int], List[tuple]]:
    if 'gt_label' in info:
        return info['gt_label']
    return [(instance['bbox_label'], instance['bbox']) for instance in info['instances']]


def check_identity(folder: Path, identity: Identity) -> None:
    """Compare the identity of the features in ``folder``, or write it there if the folder is new.

    Raises:
        ValueError: A folder of features with another identity, a damaged folder, or a file.
    """
    file = folder / 'identity.json'
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'{folder} must be a folder for features, but is a file')
    if not file.exists():
        write_text(file, json.dumps(identity, indent=1))
        return
    try:
        found = json.loads(file.read_text(encoding='utf-8'))
        if not isinstance(found, dict):
            raise ValueError(f'it must hold a JSON object, but holds a {type(found).__name__}')
    except (OSError, ValueError) as error:
        raise ValueError(f'{file} is damaged: {error}. Remove {folder}') from error
    for key in sorted(found.keys() | identity.keys()):
        if found.get(key) != identity.get(key):
            raise ValueError(f'{folder} holds features of another {key}: expected {identity.get(key)!r}, but '
                             f'found {found.get(key)!r}. Remove it or choose another folder')


class FeatureStore:
    """Features (N, D) and labels (N,) in a folder, memory-mapped; append the missing ones.

    The space for all of them is claimed at once, because a memory map on a full disk ends the process by a signal.

    Args:
        folder: Folder of the store; created if missing.
        identity: Everything that the features depend on, e.g. hashes of checkpoint and dataset.
        num_images: N.
        channels: D.
        dtype: ``'float32'``, or ``'float16'`` for half the space, which may change single predictions.

    Attributes:
        features: (N, D); the first ``num_done`` rows are filled.
        labels: (N,).

    Raises:
        ValueError: An unknown dtype, or a folder of features that are damaged or have another identity.
        OSError: Too little space, or a folder that cannot be written to. Once it can, the same call goes on.
    """

    def __init__(self, folder: Union[str, Path], identity: Identity, num_images: int, channels: int,
                 dtype: str = 'float32') -> None:
        check_choice('dtype', dtype, DTYPES)
        self.folder = Path(folder)
        self.identity = dict(identity, num_images=num_images, channels=channels, dtype=dtype)
        check_identity(self.folder, self.identity)
        is_new = not (self.folder / 'num_done').exists()
        self.features = self._array('features.npy', is_new, dtype, (num_images, channels))
        self.labels = self._array('labels.npy', is_new, 'int64', (num_images, ))
        if is_new:
            self._write_done(0)
        with self._naming_damage('num_done'):
            self.num_done = int((self.folder / 'num_done').read_text(encoding='utf-8'))
            if not 0 <= self.num_done <= num_images:
                raise ValueError(f'it must hold a number in [0, {num_images}], but holds {self.num_done}')

    def _array(self, name: str, is_new: bool, dtype: str, shape: Tuple[int, ...]) -> np.memmap:
        if is_new:
            with replacing(self.folder / name) as new, open(new, 'wb') as file:
                write_array_header_1_0(file, dict(descr=dtype_to_descr(np.dtype(dtype)), fortran_order=False,
                                                  shape=shape))
                claim_space(file, file.tell() + math.prod(shape) * np.dtype(dtype).itemsize)
        with self._naming_damage(name):
            # To write, NumPy would lengthen a file that was cut short, with zeros.
            found = open_memmap(self.folder / name, 'r')
            if found.shape != shape or found.dtype != dtype:
                raise ValueError(f'it must have {dtype} of shape {shape}, but has {found.dtype} of shape {found.shape}')
            return open_memmap(self.folder / name, 'r+')

    @contextlib.contextmanager
    def _naming_damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise ValueError(f'{self.folder / name} is damaged: {error}. Remove {self.folder}') from error

    def _write_done(self, num_done: int) -> None:
        write_text(self.folder / 'num_done', str(num_done))
        self.num_done = num_done

    @property
    def is_complete(self) -> bool:
        """Whether the features of all images are stored."""
        return self.num_done == len(self.labels)

    def append(self, features: Tensor, labels: Tensor) -> None:
        """Append features (n, D) and labels (n,) of the next n images.

        Raises:
            ValueError: More images than missing, another shape, or features that are not finite in this precision.
        """
        if features.shape != (len(labels), self.features.shape[1]):
            raise ValueError(f'features must have shape ({len(labels)}, {self.features.shape[1]}), but got '
                             f'{tuple(features.shape)}')
        with np.errstate(over='ignore'):
            stored = features.numpy().astype(self.features.dtype)
        if not np.isfinite(stored).all():
            row = self.num_done + int(np.flatnonzero(~np.isfinite(stored).all(1))[0])
            raise ValueError(f'the features of image {row} are not finite in {stored.dtype}')
        end = self.num_done + len(labels)
        if end > len(self.labels):
            raise ValueError(f'{self.folder} lacks {len(self.labels) - self.num_done} images, but got {len(labels)}')
        self.features[self.num_done:end] = stored
        self.labels[self.num_done:end] = labels.numpy()
        self.features.flush()
        self.labels.flush()
        self._write_done(end)
