"""Your own images in one folder per class, with a long tail."""
import os
import unicodedata
from collections import Counter, defaultdict
from typing import Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from mmengine.fileio import exists, get, join_path
from mmengine.logging import MMLogger
from PIL import Image

from mmcausal.checks import check_choice, check_integer, check_number, check_path, check_seed, did_you_mean
from mmcausal.datasets.image_list import CheckedImages
from mmcausal.datasets.long_tail import long_tailed_indices
from mmcausal.hosts import require_host
from mmcausal.registry import DATASETS

require_host('mmpretrain')

from mmpretrain.datasets.custom import find_folders, get_samples  # noqa: E402

SPLITS = ('train', 'val', 'test')
Sample = Tuple[str, int]  # path below the folder of the split, label


def images_to_hold_out(class_counts: Sequence[int], classes: Sequence[str], per_class: int, fraction: float) -> int:
    """Return the number of images to hold out of each class, so that the split is balanced.

    Args:
        class_counts: Images of each class (C,). Classes without an image are left out.
        classes: Their names, for the error.
        per_class: This number itself, or 0.
        fraction: Fraction of the rarest class, rounded, or 0.

    Raises:
        ValueError: The rarest class would keep no image, or the fraction is less than one image of it.
    """
    rarest = min((count, label) for label, count in enumerate(class_counts) if count)[1]
    fewest = class_counts[rarest]
    spare = f'the rarest class, {classes[rarest]!r}, has {fewest} images and can spare {fewest - 1}'
    if fraction and not round(fraction * fewest):
        raise ValueError(f'val_fraction must be at least one image of the rarest class, but got {fraction}: {spare}')
    number = per_class or round(fraction * fewest)
    if number >= fewest:
        name = f'val_per_class={per_class}' if per_class else f'val_fraction={fraction}'
        raise ValueError(f'each class must keep a training image, but {name} takes {number}: {spare}')
    return number


def find_copies(paths: Sequence[str], others: Sequence[str]) -> List[Tuple[str, str]]:
    """Return pairs of local files, one of each list, with the same name and content.

    Files are only read if name and size agree; ``tools/dataset_converters/check_images.py`` also finds renamed copies.
    """
    by_name: Dict[Tuple[str, int], List[str]] = defaultdict(list)
    names = {os.path.basename(path) for path in paths}
    for path in others:
        if os.path.basename(path) in names and os.path.isfile(path):
            by_name[os.path.basename(path), os.path.getsize(path)].append(path)
    return [(path, other) for path in paths if by_name and os.path.isfile(path)
            for other in by_name.get((os.path.basename(path), os.path.getsize(path)), []) if get(path) == get(other)]


@DATASETS.register_module()
class ImageFolder(CheckedImages):
    """Images in one folder per class; the training folder decides on classes and class counts of all splits.

    ::

        data_root/train/great tit/001.jpg
        data_root/val/great tit/407.jpg     # unless validation images are held out of train
        data_root/test/great tit/512.jpg

    A class may lack images in ``val`` and ``test``. All splits have the training images per class in
    ``metainfo['class_counts']``, without those held out.

    Args:
        data_root: Folder of the splits.
        split: ``'train'``, ``'val'`` or ``'test'``.
        folder: Folder of the split in ``data_root``, for a split that is not taken from ``train_folder``. By default
            the name of the split.
        train_folder: Folder of the training images in ``data_root``.
        val_per_class: Number of training images of each class to hold out as a balanced validation split, on which you
            can choose alpha or an epoch. By default none: ``val`` has a folder.
        val_fraction: The same number, as a fraction of the images of the rarest class.
        seed: Seed that selects the held-out images. Give all splits the same.
        **kwargs: Arguments of MMPretrain's ``CustomDataset``: ``pipeline``, ``classes`` (names in label order, or a
            file with them; by default the sorted folder names of ``train_folder``), ``extensions`` ...

    Raises:
        FileNotFoundError: A missing folder.
        ValueError: A folder that is not a class, a class folder without an image in ``train_folder``, a single class,
            more held-out images than the rarest class can spare, copies of training images in another split; while
            loading an image, a failure of the pipeline. The error names the folder or file.

    Example:
        In a config: ``dataset=dict(type='mmcausal.ImageFolder', data_root='data/birds', split='val', val_per_class=5,
        pipeline=test_pipeline)``
    """

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 folder: Optional[str] = None,
                 train_folder: str = 'train',
                 val_per_class: int = 0,
                 val_fraction: float = 0.,
                 seed: int = 0,
                 **kwargs: Union[str, bool, int, dict, Sequence, None]) -> None:
        self.split = check_choice('split', split, SPLITS)
        self.is_training_split = split == 'train'
        data_root = check_path('data_root', data_root)
        folder = None if folder is None else check_path('folder', folder)
        self.train_folder = train_folder = check_path('train_folder', train_folder)
        self.val_per_class = check_integer('val_per_class', val_per_class, 0)
        self.val_fraction = check_number('val_fraction', val_fraction, '[0, 1)')
        if val_per_class and val_fraction:
            raise ValueError('val_per_class and val_fraction are two ways to say one number, but got '
                             f'{val_per_class} and {val_fraction}')
        self.seed = check_seed(seed)
        self.holds_out = bool(val_per_class or val_fraction)
        self.is_from_training_folder = split == 'train' or (split == 'val' and self.holds_out)
        if self.is_from_training_folder and folder not in (None, train_folder):
            raise ValueError(f'split={split!r} takes its images from train_folder={train_folder!r}'
                             f'{"" if split == "train" else ", of which it holds some out"}, but got folder={folder!r}')
        self.folder = train_folder if self.is_from_training_folder else split if folder is None else folder
        unread = join_path(data_root, 'val')
        if split == 'val' and self.holds_out and train_folder != 'val' and exists(unread):
            MMLogger.get_current_instance().warning(
                f'{unread} is not read: val_per_class and val_fraction hold validation images out of {train_folder}')
        super().__init__(data_root=data_root, data_prefix=self.folder, **kwargs)

    def _find_samples(self) -> List[Sample]:
        """Return the samples of the split, and set classes and class counts. (The host's method.)"""
        samples = self._find_training_samples()
        labels = [label for _, label in samples]
        counts = np.bincount(labels, minlength=len(self.CLASSES))
        held_out = np.zeros(len(samples), dtype=bool)
        if self.holds_out:
            number = images_to_hold_out(counts.tolist(), self.CLASSES, self.val_per_class, self.val_fraction)
            held_out[long_tailed_indices(labels, np.minimum(counts, number).tolist(), self.seed)] = True
        self._metainfo['class_counts'] = (counts - np.bincount(
            np.array(labels)[held_out], minlength=len(counts))).tolist()
        if self.is_from_training_folder:
            return [sample for sample, is_out in zip(samples, held_out) if is_out == (self.split == 'val')]
        return self._find_other_samples(samples)

    def _find_training_samples(self) -> List[Sample]:
        root = self._root(self.train_folder)
        folders = self._class_folders(root)
        if len(folders) < 2:
            raise ValueError(f'{root} must have a folder for each of at least two classes, but has {list(folders)}')
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(folders)
            samples, empty = self._samples(root, folders)
            if empty:
                raise ValueError(f'every class folder of {root} must have an image ({", ".join(self.extensions)}), but '
                                 f'these are empty: {", ".join(sorted(empty))}')
            return samples
        samples, _ = self._samples(root, folders)
        if not samples:
            raise ValueError(f'{root} must have images ({", ".join(self.extensions)}), but its class folders have none')
        lacking = sorted(set(range(len(self.CLASSES))) - {label for _, label in samples})
        if lacking:
            MMLogger.get_current_instance().warning(
                f'{root} has no image of {", ".join(str(self.CLASSES[label]) for label in lacking)}')
        return samples

    def _find_other_samples(self, train: List[Sample]) -> List[Sample]:
        root, train_root = self._root(self.folder), self._root(self.train_folder)
        samples, _ = self._samples(root, self._class_folders(root))
        if not samples:
            raise ValueError(f'{root} must have images ({", ".join(self.extensions)}) in class folders, but has none')
        copies = find_copies([join_path(root, path) for path, _ in samples],
                             [join_path(train_root, path) for path, _ in train]) if root != train_root else []
        if copies:
            raise ValueError(f'the {self.split} split must not have training images, but has {len(copies)} copies, '
                             'e.g. {} of {}'.format(*copies[0]))
        return samples

    def _root(self, folder: str) -> str:
        root = join_path(self.data_root, folder) if folder else self.data_root
        if not exists(root):
            raise FileNotFoundError(f'{root} is missing; it must have one folder of images for each class')
        return root

    @staticmethod
    def _class_folders(root: str) -> Dict[str, str]:
        """Return the folders by class name, sorted. Names are compared in one Unicode form, whatever the disk has."""
        folders = [name for name in find_folders(root)[0] if not name.startswith('.')]
        by_name = {unicodedata.normalize('NFC', name): name for name in folders}
        if len(by_name) < len(folders):
            raise ValueError(f'{root} has folders with the same name in two Unicode forms: {folders}')
        return dict(sorted(by_name.items()))

    def _samples(self, root: str, folders: Dict[str, str]) -> Tuple[List[Sample], set]:
        """Return the samples in the folders, and the folders without any."""
        label_of = {unicodedata.normalize('NFC', str(name)): label for label, name in enumerate(self.CLASSES)}
        for name in folders:
            if name not in label_of:
                raise ValueError(f'each folder of {root} must be one of the {len(label_of)} classes, but got '
                                 f'{name!r}{did_you_mean(name, label_of)}')
        endings: List[str] = []  # of files that are not read

        def is_read(path: str) -> bool:
            is_valid: bool = self.is_valid_file(path)
            endings.extend([] if is_valid else [os.path.splitext(path)[1].lower()])
            return is_valid

        found = get_samples(root, {folder: label_of[name] for name, folder in folders.items()}, is_read)
        images = Counter(ending for ending in endings if ending in Image.registered_extensions())
        if images and root == self._root(self.folder):  # once, for the split that would read them
            MMLogger.get_current_instance().warning(
                f'{root} has images that are not read, because extensions={self.extensions!r} lacks their endings: '
                + ', '.join(f'{number} {ending}' for ending, number in sorted(images.items())))
        return found
