"""ImageNet-LT, Places-LT (Liu et al., CVPR 2019), iNaturalist: long-tailed data sets that are lists of images."""
import hashlib
import re
from typing import Any, Dict, List, Optional

import numpy as np
from mmengine.fileio import exists, get, join_path, list_from_file

from mmcausal.hosts import require_host
from mmcausal.registry import DATASETS

require_host('mmpretrain')

from mmpretrain.datasets import CustomDataset  # noqa: E402
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES  # noqa: E402


def read_labels(ann_file: str, num_classes: int) -> List[int]:
    """The labels of a list whose lines are ``relative/path.jpg label``.

    Raises:
        FileNotFoundError: No such list.
        ValueError: A list without a line, or one that is no text; a line without a label, or a label outside
            [0, num_classes): it names the line.
    """
    if not exists(ann_file):
        raise FileNotFoundError(f'the list of images {ann_file} is missing')
    try:
        lines = list_from_file(ann_file)
    except UnicodeDecodeError as error:
        raise ValueError(f'{ann_file} must be a text file in UTF-8, unpacked: {error}') from error
    if not lines:
        raise ValueError(f'{ann_file} must list images, and is empty')
    labels = []
    for number, line in enumerate(lines, 1):
        path, _, label = line.strip().rpartition(' ')
        if not path or path.startswith('\ufeff') or not re.fullmatch('-?[0-9]+', label):
            raise ValueError(f"line {number} of {ann_file} must be 'path label', but got {line!r}")
        if not 0 <= int(label) < num_classes:
            raise ValueError(f'line {number} of {ann_file} has label {label}, and labels must be in '
                             f'[0, {num_classes})')
        labels.append(int(label))
    return labels


def _check_number(ann_file: str, labels: List[int], expected: Optional[int]) -> None:
    if expected not in (None, len(labels)):
        raise ValueError(f'{ann_file} must have {expected} images, but got {len(labels)}')


@DATASETS.register_module()
class ImageList(CustomDataset):
    """Same as MMPretrain's ``CustomDataset`` with ``ann_file``, except that the list is checked and classes counted.

    All splits carry the training images per class in ``metainfo['class_counts']``, from which the many-, medium- and
    few-shot classes follow.

    Args:
        ann_file: List of this split; a line is ``relative/path.jpg label``.
        num_classes: C.
        train_ann_file: List of the training split, whose labels are counted. By default ``ann_file``.
        num_images: How many lines ``ann_file`` must have. By default any number.
        num_train_images: How many lines ``train_ann_file`` must have. By default any number.
        md5: The md5 sum ``ann_file`` must have. By default any.
        metainfo: As the host's. Class names are the labels unless it, or the host's argument ``classes``, has them.
        **kwargs: Arguments of the host's ``CustomDataset``: ``data_root``, ``pipeline`` ...

    Raises:
        FileNotFoundError: A list that is missing.
        ValueError: A line without a label, a label out of range, another number of lines or another md5 sum; when an
            image is taken, one that the pipeline fails on. It names the file.
    """

    def __init__(self,
                 ann_file: str,
                 num_classes: int,
                 train_ann_file: Optional[str] = None,
                 num_images: Optional[int] = None,
                 num_train_images: Optional[int] = None,
                 md5: Optional[str] = None,
                 metainfo: Optional[dict] = None,
                 **kwargs: Any) -> None:
        self.num_classes = num_classes
        self.train_ann_file = train_ann_file
        self.num_images = num_images
        self.num_train_images = num_train_images
        self.md5 = md5
        if kwargs.get('classes') is None and 'classes' not in self.METAINFO:
            metainfo = {'classes': tuple(map(str, range(num_classes))), **(metainfo or {})}
        super().__init__(ann_file=ann_file, metainfo=metainfo, **kwargs)

    def load_data_list(self) -> List[Dict[str, Any]]:
        labels = read_labels(self.ann_file, self.num_classes)
        _check_number(self.ann_file, labels, self.num_images)
        if self.md5 is not None:
            md5 = hashlib.md5(get(self.ann_file)).hexdigest()
            if md5 != self.md5:
                raise ValueError(f'{self.ann_file} must have the md5 sum {self.md5}, but got {md5}')
        train_labels = labels
        if self.train_ann_file is not None:
            train_ann_file = join_path(self.data_root, self.train_ann_file)
            train_labels = read_labels(train_ann_file, self.num_classes)
            _check_number(train_ann_file, train_labels, self.num_train_images)
        self._metainfo['class_counts'] = np.bincount(train_labels, minlength=self.num_classes).tolist()
        return super().load_data_list()

    def prepare_data(self, idx: int) -> Any:
        """Same as the host's, except that an error names the image."""
        try:
            return super().prepare_data(idx)
        except Exception as error:  # decoders promise no type, and some of their errors name no file
            path = self.get_data_info(idx)['img_path']
            raise ValueError(f'the pipeline fails on {path}: {error!r}') from error


@DATASETS.register_module()
class ImageNetLT(ImageList):
    """Same as :class:`ImageList`, with ImageNet's 1000 class names; labels follow the sorted WordNet ids."""
    METAINFO = {'classes': IMAGENET_CATEGORIES}

    def __init__(self, ann_file: str, **kwargs: Any) -> None:
        super().__init__(ann_file, num_classes=len(IMAGENET_CATEGORIES), **kwargs)
