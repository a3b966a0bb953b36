"""Long-tailed CIFAR (Cui et al., CVPR 2019; Cao et al., NeurIPS 2019), on top of MMPretrain's CIFAR."""
import io
from typing import Dict, List, Optional, Sequence, Union

from mmengine.fileio import exists, get, join_path

from mmcausal.checks import check_choice, check_integer, check_seed
from mmcausal.datasets.class_counts import CountedMixin
from mmcausal.datasets.long_tail import long_tailed_counts, long_tailed_indices
from mmcausal.hosts import require_host
from mmcausal.registry import DATASETS
from mmcausal.safe_pickle import ArrayUnpickler, UnsafePickleError

require_host('mmpretrain')

from mmpretrain.datasets import CIFAR10, CIFAR100  # noqa: E402
from mmpretrain.datasets.utils import calculate_md5  # noqa: E402

SPLITS = ('train', 'val', 'test')


class LongTailedCIFAR(CountedMixin, CIFAR10):
    """Same as MMPretrain's CIFAR dataset of that name, except that the training split is long-tailed.

    The test split stays complete and balanced. All splits have the training counts in ``metainfo['class_counts']``,
    which define the many-, medium- and few-shot classes.

    Args:
        split: ``'train'``, ``'test'``, or ``'val'`` for the images held out by ``val_per_class``.
        imbalance_ratio: Samples of the most frequent class over samples of the rarest, e.g. 100.
        profile: ``'exp'`` or ``'step'``, see :func:`mmcausal.datasets.long_tail.long_tailed_counts`.
        seed: Seed that selects the samples.
        val_per_class: Number of training images per class to hold out as a balanced validation split, so that alpha or
            an epoch can be chosen without test images. The most frequent class then keeps that many fewer for training.
            The default, 0, is the usual protocol without a validation split.
        md5: Expected md5 sum by file name, for files that are not the official ones; ``None`` as the sum skips the
            check. Other files keep the official sum.
        metainfo, kwargs: Arguments of the host's ``CIFAR10``: ``data_root``, ``pipeline``, ``download`` ...

    Raises:
        ValueError: A file with another md5 sum, a damaged file, a blank image in the split, or arguments out of range.
        FileNotFoundError: Files that are missing and not downloaded.

    Example:
        In a config: ``dataset=dict(type='mmcausal.LongTailedCIFAR100', data_root='data/cifar100', imbalance_ratio=100,
        pipeline=train_pipeline)``
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
                 **kwargs: Union[str, bool, int, dict, Sequence, None]) -> None:
        check_choice('split', split, SPLITS)
        self.seed = check_seed(seed)  # without a seed, the splits would draw different images
        if check_integer('val_per_class', val_per_class, 0) >= self.images_per_class:
            raise ValueError(f'val_per_class must be in [0, {self.images_per_class}), but got {val_per_class!r}')
        if split == 'val' and not val_per_class:
            raise ValueError(f"split='val' needs val_per_class of at least 1, but got {val_per_class!r}")
        self.class_counts = long_tailed_counts(self.images_per_class - val_per_class, len(self.METAINFO['classes']),
                                               imbalance_ratio, profile)
        self.is_training_split = split == 'train'
        self.skip_counts, self.keep_counts = [0] * len(self.class_counts), self.class_counts
        if split == 'val':  # these images follow the training images, so that the splits are disjoint
            self.skip_counts, self.keep_counts = self.class_counts, [val_per_class] * len(self.class_counts)
        self.train_list, self.test_list = self._lists_with_md5({} if md5 is None else md5)
        super().__init__(split='test' if split == 'test' else 'train',  # the host's file names
                         metainfo={**(metainfo or {}), 'class_counts': self.class_counts}, **kwargs)

    def _lists_with_md5(self, md5: Dict[str, Optional[str]]) -> List[List[list]]:
        """Return the host's training and test file lists, with the md5 sums of the user."""
        official = dict(self.train_list + self.test_list)
        if not isinstance(md5, dict):
            raise ValueError(f'md5 must be a dict of md5 sums by file name, but got {md5!r}')
        unknown = sorted(set(md5) - set(official))
        if unknown:
            raise ValueError(f'md5 must have file names among {sorted(official)}, but got {unknown}')
        return [[[name, md5.get(name, official[name])] for name, _ in files]
                for files in (self.train_list, self.test_list)]

    def load_data_list(self) -> List[dict]:
        folder = join_path(self.data_prefix['root'], self.base_folder)
        is_there = self._check_integrity()
        try:
            if is_there:
                self._check_pickles(folder)
            data_list = super().load_data_list()
        except OSError as error:
            if is_there:
                raise
            raise FileNotFoundError(f'{type(self).__name__} needs {self._file_names()} in {folder}, but the download '
                                    f'from {self.url} failed: {error}') from error
        except UnsafePickleError as error:
            raise ValueError(f'{folder} is not loaded, because {error}') from error
        except Exception as error:  # unpickling other bytes can raise anything
            raise ValueError(f'one of {self._file_names()} in {folder} is truncated or not a CIFAR pickle: '
                             f'{error!r}') from error
        if self.split == 'test':
            return data_list
        labels = [info['gt_label'] for info in data_list]
        kept = long_tailed_indices(labels, self.keep_counts, self.seed, self.skip_counts)
        blank = [int(i) for i in kept if not data_list[i]['img'].any()]
        if blank:
            raise ValueError(f'{len(blank)} of the selected images are blank, e.g. row {blank[0]} of {folder}: the '
                             f'files lack pixels for seed={self.seed} and these class counts')
        return [data_list[i] for i in kept]

    def _check_pickles(self, folder: str) -> None:
        """Refuse files that the host would unpickle if they hold anything but arrays, text, lists and dictionaries."""
        for name, _ in self.test_list if self.split == 'test' else self.train_list:
            ArrayUnpickler(io.BytesIO(get(join_path(folder, name))), encoding='latin1').load()

    def _check_integrity(self) -> bool:
        """Return whether all files exist; raise for one that differs, so that a download never overwrites it."""
        for name, md5 in self.train_list + self.test_list:
            path = join_path(self.data_prefix['root'], self.base_folder, name)
            if not exists(path):
                if not self.download:
                    raise FileNotFoundError(f'{path} is missing; data_root must be the folder that contains '
                                            f'{self.base_folder}/, or set download=True')
                return False
            if md5 is not None and (found := calculate_md5(path)) != md5:
                raise ValueError(f'{path} must have the md5 sum {md5}, but got {found}. Remove it to download it '
                                 'again, or set the expected sum with the argument md5')
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
