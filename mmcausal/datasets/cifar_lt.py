"""Long-tailed CIFAR (Cui et al., CVPR 2019; Cao et al., NeurIPS 2019), on MMPretrain's CIFAR."""
from typing import Any, Dict, List, Optional

from mmengine.fileio import exists, join_path

from mmcausal.checks import check_choice, check_integer
from mmcausal.datasets.long_tail import long_tailed_counts, long_tailed_indices
from mmcausal.hosts import require_host
from mmcausal.registry import DATASETS

require_host('mmpretrain')

from mmpretrain.datasets import CIFAR10, CIFAR100  # noqa: E402
from mmpretrain.datasets.utils import check_md5  # noqa: E402

SPLITS = ('train', 'val', 'test')


class LongTailedCIFAR(CIFAR10):
    """Same as MMPretrain's CIFAR data set of that name, except that the training split is long-tailed.

    The test split stays whole and balanced. All splits carry the training counts in ``metainfo['class_counts']``,
    from which the many-, medium- and few-shot classes follow.

    Args:
        split: ``'train'``, ``'test'``, or ``'val'``: the images set aside by ``val_per_class``.
        imbalance_ratio: Samples of the most frequent class over those of the rarest, e.g. 100.
        profile: ``'exp'`` or ``'step'``, see :func:`mmcausal.datasets.long_tail.long_tailed_counts`.
        seed: Which samples are kept.
        val_per_class: How many training images of each class to set aside as a balanced validation split, by which
            alpha or an epoch can be chosen without the test images. The most frequent class keeps that many fewer.
            0, the default, is the field's protocol, which has no validation split.
        md5: Expected md5 sum by file name, for files that are not the official ones, or ``None`` as the sum of a file
            that is not to be checked. Files not named keep the official sum.
        **kwargs: Arguments of the host's ``CIFAR10``: ``data_root``, ``pipeline``, ``download`` ...

    Raises:
        ValueError: A file with another md5 sum, a file that cannot be unpickled, a blank image among those kept, or
            arguments out of range.
        FileNotFoundError: Files that are missing and not downloaded.
    """
    images_per_class: int

    def __init__(self,
                 split: str = 'train',
                 imbalance_ratio: float = 100,
                 profile: str = 'exp',
                 seed: int = 0,
                 val_per_class: int = 0,
                 md5: Optional[Dict[str, Optional[str]]] = None,
                 metainfo: Optional[dict] = None,
                 **kwargs: Any) -> None:
        check_choice('split', split, SPLITS)
        check_integer('seed', seed, 0)  # without a seed, the splits would draw different images
        if check_integer('val_per_class', val_per_class, 0) >= self.images_per_class:
            raise ValueError(f'val_per_class must be in [0, {self.images_per_class}), but got {val_per_class!r}')
        if split == 'val' and not val_per_class:
            raise ValueError("split='val' is empty: val_per_class=0 sets no training image aside")
        self.class_counts = long_tailed_counts(self.images_per_class - val_per_class, len(self.METAINFO['classes']),
                                               imbalance_ratio, profile)
        self.seed = seed
        nothing, val_counts = [0] * len(self.class_counts), [val_per_class] * len(self.class_counts)
        # The validation images of a class follow its training images.
        self.skip_counts, self.keep_counts = (
            (self.class_counts, val_counts) if split == 'val' else (nothing, self.class_counts))
        self.train_list, self.test_list = self._expect(md5 or {})
        super().__init__(
            split='test' if split == 'test' else 'train',  # the host's name of the files
            metainfo={**(metainfo or {}), 'class_counts': self.class_counts},
            **kwargs)

    def _expect(self, md5: Dict[str, Optional[str]]) -> List[List[list]]:
        """The host's two file lists with the md5 sums the user named."""
        official = dict(self.train_list + self.test_list)
        unknown = sorted(set(md5) - set(official))
        if unknown:
            raise ValueError(f'md5 names {unknown}, but the files are {sorted(official)}')
        return [[[name, md5.get(name, official[name])] for name, _ in files]
                for files in (self.train_list, self.test_list)]

    def load_data_list(self) -> List[dict]:
        folder = join_path(self.data_prefix['root'], self.base_folder)
        is_there = self._check_integrity()
        try:
            data_list = super().load_data_list()
        except OSError as error:
            if is_there:
                raise
            raise FileNotFoundError(f'{type(self).__name__} needs {self._file_names()} in {folder}, and could not '
                                    f'download them from {self.url}: {error}') from error
        except Exception as error:  # whatever unpickling other bytes ends with
            raise ValueError(f'one of {self._file_names()} in {folder} is truncated or no CIFAR pickle: '
                             f'{error!r}') from error
        if self.split == 'test':
            return data_list
        labels = [info['gt_label'] for info in data_list]
        kept = long_tailed_indices(labels, self.keep_counts, self.seed, self.skip_counts)
        blank = [int(i) for i in kept if not data_list[i]['img'].any()]
        if blank:
            raise ValueError(f'{len(blank)} of the images kept are blank, e.g. row {blank[0]} of {folder}: the files '
                             f'have no pixels for seed={self.seed} and these class counts')
        return [data_list[i] for i in kept]

    def _check_integrity(self) -> bool:
        """Whether all files are there. One that is there but differs is never overwritten by a download."""
        for name, md5 in self.train_list + self.test_list:
            path = join_path(self.data_prefix['root'], self.base_folder, name)
            if not exists(path):
                if not self.download:
                    raise FileNotFoundError(f'{path} is missing; data_root must be the folder that holds '
                                            f'{self.base_folder}/, or set download=True')
                return False
            if md5 is not None and not check_md5(path, md5):
                raise ValueError(f'{path} does not have the md5 sum {md5}. Remove it to have it downloaded again, or '
                                 'name the sum it should have in the argument md5')
        return True

    def _file_names(self) -> List[str]:
        return [name for name, _ in self.train_list + self.test_list]


@DATASETS.register_module()
class LongTailedCIFAR10(LongTailedCIFAR):
    __doc__ = LongTailedCIFAR.__doc__
    images_per_class = 5000


@DATASETS.register_module()
class LongTailedCIFAR100(LongTailedCIFAR, CIFAR100):
    __doc__ = LongTailedCIFAR.__doc__
    images_per_class = 500
