"""LVIS (Gupta et al., CVPR 2019), on MMDetection's data sets."""
import os
from typing import Any, List, Sequence

from mmengine.fileio import exists

from mmcausal.datasets.shapes import shape_classes
from mmcausal.hosts import require_host
from mmcausal.lvis_api import repair_lvis_api
from mmcausal.registry import DATASETS

require_host('mmdet')

from mmdet.datasets import LVISV05Dataset as HostLVISV05Dataset  # noqa: E402
from mmdet.datasets import LVISV1Dataset as HostLVISV1Dataset  # noqa: E402

repair_lvis_api()


def check_categories(names: Sequence[str], classes: Sequence[str], ann_file: str) -> None:
    """Raise ``ValueError`` unless the categories of an annotation file are the classes of a data set, in order."""
    if len(names) != len(classes):
        raise ValueError(f'{ann_file} has {len(names)} categories and the data set {len(classes)} classes (LVIS v0.5: '
                         '1230, v1.0: 1203): it is the file of another version, or metainfo.classes is wrong')
    different = [(label, name, own) for label, (name, own) in enumerate(zip(names, classes)) if name != own]
    # The host's list corrects a misspelt name of LVIS.
    if len(different) > len(classes) // 1000:
        raise ValueError(f'{len(different)} of the categories of {ann_file} are not the classes of the data set; the '
                         'first is (label, category, class) = {}'.format(different[0]))


class CheckedLVISMixin:
    """Refuse wrong annotation files and image folders before the work starts, and know the class counts.

    After loading, ``metainfo`` has ``class_counts``, the number of images of each class, and ``frequencies``, ``'r'``,
    ``'c'`` or ``'f'`` for each class, as the annotation file states them, if it does. A ``ConcatDataset`` of files that
    differ in them needs ``ignore_keys=['class_counts']``.

    Raises:
        ValueError: Categories that are not the classes of the data set, or training on a file without annotations.
        FileNotFoundError: The first image in one of the folders is not there.
    """
    ann_file: str
    backend_args: Any
    test_mode: bool
    _metainfo: dict

    @property
    def lvis(self) -> Any:
        return self._lvis

    @lvis.setter
    def lvis(self, api: Any) -> None:
        """The host opens the annotation file while it loads: the moment to look at its categories."""
        categories = api.load_cats(api.get_cat_ids())
        check_categories([category['name'] for category in categories], self._metainfo['classes'], self.ann_file)
        if not self.test_mode and not api.dataset['annotations']:
            raise ValueError(f'{self.ann_file} has no annotations to train on, as those of test sets')
        for plural, key in (('class_counts', 'image_count'), ('frequencies', 'frequency')):
            if all(key in category for category in categories):
                self._metainfo[plural] = [category[key] for category in categories]
        self._lvis = api

    @lvis.deleter
    def lvis(self) -> None:
        del self._lvis

    def load_data_list(self) -> List[dict]:
        data_list = super().load_data_list()  # type: ignore[misc]
        # LVIS v1.0 has images in two of COCO's folders, of which one is easily forgotten.
        first_images = {os.path.dirname(info['img_path']): info['img_path'] for info in reversed(data_list)}
        missing = [path for path in first_images.values() if not exists(path, self.backend_args)]
        if missing:
            raise FileNotFoundError(f'{missing[0]}, the first image of {self.ann_file} in its folder, is missing; '
                                    'data_root and data_prefix.img must lead to the images')
        return data_list


@DATASETS.register_module()
class LVISV05Dataset(CheckedLVISMixin, HostLVISV05Dataset):
    """Same as MMDetection's ``LVISV05Dataset``, with the checks of :class:`CheckedLVISMixin`."""


@DATASETS.register_module()
class LVISV1Dataset(CheckedLVISMixin, HostLVISV1Dataset):
    """Same as MMDetection's ``LVISV1Dataset``, with the checks of :class:`CheckedLVISMixin`."""


@DATASETS.register_module()
class ShapesDataset(LVISV1Dataset):
    """The generated images of :func:`mmcausal.datasets.shapes.make_shapes_dataset`, with its default 24 classes."""
    METAINFO = dict(classes=tuple('_'.join(pair) for pair in shape_classes(24)), palette=None)
