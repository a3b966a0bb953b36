"""Long-tailed datasets given as lists of images: ImageNet-LT, Places-LT (Liu et al., CVPR 2019), iNaturalist."""
import hashlib
import os
import re
from typing import Any, List, Optional, Sequence, Union

import numpy as np
from mmengine.fileio import exists, get, join_path, list_from_file

from mmcausal.checks import check_integer, check_path
from mmcausal.datasets.class_counts import CountedMixin
from mmcausal.hosts import require_host
from mmcausal.registry import DATASETS

require_host('mmpretrain')

from mmpretrain.datasets import CustomDataset  # noqa: E402
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES  # noqa: E402


def read_labels(ann_file: str, num_classes: int) -> List[int]:
    """Return the labels of a list with lines of ``relative/path.jpg label``.

    Raises:
        FileNotFoundError: No such list.
        ValueError: An empty list or a file that is not text; a line without a label, or with one outside
            [0, num_classes). The error names the line.
    """
    if not exists(ann_file):
        raise FileNotFoundError(f'the list of images {ann_file} is missing')
    try:
        lines = list_from_file(ann_file, encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{ann_file} must be a text file in UTF-8, not compressed: {error}') from error
    if not lines:
        raise ValueError(f'{ann_file} must list images, but is empty')
    labels = []
    for number, line in enumerate(lines, 1):
        path, _, label = line.strip().rpartition(' ')
        if not path or path.startswith('\ufeff') or not re.fullmatch('-?[0-9]+', label):
            raise ValueError(f"line {number} of {ann_file} must be 'path label', but got {line!r}")
        if not 0 <= int(label) < num_classes:
            raise ValueError(f'the label in line {number} of {ann_file} must be in [0, {num_classes}), but got {label}')
        labels.append(int(label))
    return labels


def _check_length(ann_file: str, labels: List[int], expected: Optional[int]) -> None:
    if expected not in (None, len(labels)):
        raise ValueError(f'{ann_file} must have {expected} images, but got {len(labels)}')


def _checked_lists(ann_file: str, train_ann_file: Union[str, Sequence[str], None]) -> List[str]:
    """Return the lists of the training split, by default ``[ann_file]``; raise ``ValueError`` for other values."""
    if not check_path('ann_file', ann_file):
        raise ValueError(f'ann_file must be the list of this split, but got {ann_file!r}')
    if train_ann_file is None:
        return [ann_file]
    files = list(train_ann_file) if isinstance(train_ann_file, (list, tuple)) else [train_ann_file]
    if not files or not all(check_path('train_ann_file', file) for file in files):
        raise ValueError(f'train_ann_file must be one or several lists of images, but got {train_ann_file!r}')
    return files


class CheckedImages(CountedMixin, CustomDataset):
    """Same as MMPretrain's ``CustomDataset``, except that an error while loading an image names the image.

    A file of class names may begin with the byte order mark that Windows writes.

    Raises:
        ValueError: A failure of the pipeline. The error names the file.
    """

    def __init__(self, **kwargs: Any) -> None:
        classes = kwargs.get('classes')
        if isinstance(classes, str):  # the host would keep a byte order mark in the first name
            kwargs['classes'] = list_from_file(os.path.expanduser(classes), encoding='utf-8-sig')
        super().__init__(**kwargs)

    def prepare_data(self, idx: int) -> Optional[dict]:
        """Same as the host's, except that an error names the image."""
        try:
            return super().prepare_data(idx)
        except Exception as error:  # decoders can raise anything, and some errors do not name the file
            path = self.get_data_info(idx)['img_path']
            raise ValueError(f'the pipeline fails on {path}: {error!r}') from error


@DATASETS.register_module()
class ImageList(CheckedImages):
    """Same as MMPretrain's ``CustomDataset`` with ``ann_file``, except that it checks the list and counts the classes.

    All splits have the training images per class in ``metainfo['class_counts']``, which define the many-, medium- and
    few-shot classes.

    Args:
        ann_file: List of this split, with lines of ``relative/path.jpg label``.
        num_classes: C.
        train_ann_file: List of the training split, or several lists, to count their labels. By default ``ann_file``,
            which then is the training split.
        num_images, num_train_images: Expected number of lines in ``ann_file`` and ``train_ann_file``. By default any.
        md5: Expected md5 sum of ``ann_file``. By default any.
        metainfo: As in the host. Without class names here or in the host's ``classes``, the labels are the names.
        **kwargs: Arguments of the host's ``CustomDataset``: ``data_root``, ``pipeline`` ...

    Raises:
        FileNotFoundError: A missing list.
        ValueError: A line without a label, a label out of range, another number of lines or md5 sum; while loading an
            image, a failure of the pipeline. The error names the file.

    Example:
        In a config: ``dataset=dict(type='mmcausal.ImageList', data_root='data/mine', ann_file='val.txt',
        train_ann_file='train.txt', num_classes=10, pipeline=test_pipeline)``
    """

    def __init__(self,
                 ann_file: str,
                 num_classes: int,
                 train_ann_file: Union[str, Sequence[str], None] = None,
                 num_images: Optional[int] = None,
                 num_train_images: Optional[int] = None,
                 md5: Optional[str] = None,
                 metainfo: Optional[dict] = None,
                 **kwargs: Union[str, bool, int, dict, Sequence, None]) -> None:
        self.num_classes = check_integer('num_classes', num_classes, 1)
        self.train_ann_files = _checked_lists(ann_file, train_ann_file)
        self.is_training_split = self.train_ann_files == [ann_file]
        for name, number in (('num_images', num_images), ('num_train_images', num_train_images)):
            check_integer(name, 1 if number is None else number, 1)
        self.num_images, self.num_train_images = num_images, num_train_images
        if not (md5 is None or isinstance(md5, str) and re.fullmatch('[0-9a-f]{32}', md5)):
            raise ValueError(f'md5 must be a sum of 32 hexadecimal digits, but got {md5!r}')
        self.md5 = md5
        if kwargs.get('classes') is None and 'classes' not in self.METAINFO:
            metainfo = {'classes': tuple(map(str, range(num_classes))), **(metainfo or {})}
        super().__init__(ann_file=ann_file, metainfo=metainfo, **kwargs)

    def load_data_list(self) -> List[dict]:
        labels = read_labels(self.ann_file, self.num_classes)
        _check_length(self.ann_file, labels, self.num_images)
        if self.md5 is not None and (md5 := hashlib.md5(get(self.ann_file)).hexdigest()) != self.md5:
            raise ValueError(f'{self.ann_file} must have the md5 sum {self.md5}, but got {md5}')
        if self.is_training_split:
            _check_length(self.ann_file, labels, self.num_train_images)
        else:
            labels = self._train_labels()
        self._metainfo['class_counts'] = np.bincount(labels, minlength=self.num_classes).tolist()
        if len(self.CLASSES) != self.num_classes:
            raise ValueError(f'num_classes must be the number of class names, but got {self.num_classes}, and '
                             f'{len(self.CLASSES)} names')
        data_list = super().load_data_list()
        # The host keeps the byte order mark that Windows puts at the start of UTF-8
        data_list[0]['img_path'] = data_list[0]['img_path'].replace('\ufeff', '')
        return data_list

    def _train_labels(self) -> List[int]:
        paths = [join_path(self.data_root, path) for path in self.train_ann_files]
        labels = [label for path in paths for label in read_labels(path, self.num_classes)]
        _check_length(' and '.join(paths), labels, self.num_train_images)
        return labels


@DATASETS.register_module()
class ImageNetLT(ImageList):
    """Same as :class:`ImageList`, with ImageNet's 1000 class names; labels follow the sorted WordNet ids."""
    METAINFO = {'classes': IMAGENET_CATEGORIES}

    def __init__(self, ann_file: str, **kwargs: Any) -> None:
        super().__init__(ann_file, num_classes=len(IMAGENET_CATEGORIES), **kwargs)
