"""Box and mask AP of COCO for rare, common and frequent categories, on top of MMDetection's metric."""
import contextlib
import logging
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np
from mmengine.logging import MMLogger

from mmcausal.checks import check_path
from mmcausal.coco_annotations import check_category_order, image_counts, load_annotations
from mmcausal.encoding import log_text
from mmcausal.evaluation.class_groups import FREQUENCIES, Groups, check_groups, class_groups, frequency_groups
from mmcausal.evaluation.total_effect import TotalEffectMixin
from mmcausal.evaluation.training_counts import ClassCounts, check_given_counts, training_counts
from mmcausal.hosts import require_host
from mmcausal.registry import METRICS
from mmcausal.temporary import temporarily
from mmcausal.text import align, shorten

require_host('mmdet')

from mmdet.evaluation.metrics import coco_metric as host  # noqa: E402

LETTERS = dict(rare='r', common='c', frequent='f')
DEFAULT_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


class LabelOrderMixin:
    """Order the precision of pycocotools' ``COCOeval`` by label.

    ``COCOeval`` sorts the categories by id, but the host reads them in the order of the labels, that of the file.
    """
    params: Any
    eval: Dict[str, np.ndarray]

    def evaluate(self) -> None:
        self.ids_by_label = list(self.params.catIds)
        super().evaluate()  # type: ignore[misc]

    def accumulate(self, p: Optional[object] = None) -> None:
        super().accumulate(p)  # type: ignore[misc]
        if self.params.useCats:
            rank = [self.params.catIds.index(category) for category in self.ids_by_label]
            self.eval['precision'] = self.eval['precision'][:, :, rank]


class LabelOrderedCOCOeval(LabelOrderMixin, host.COCOeval):
    """Same as pycocotools' ``COCOeval``, with :class:`LabelOrderMixin`."""


class LabelOrderedCOCOevalMP(LabelOrderMixin, host.COCOevalMP):
    """Same as MMDetection's ``COCOevalMP``, with :class:`LabelOrderMixin`."""


EVALUATIONS = dict(COCOeval=LabelOrderedCOCOeval, COCOevalMP=LabelOrderedCOCOevalMP)


@contextlib.contextmanager
def recorded_evaluations() -> Iterator[List[host.COCOeval]]:
    """Record each evaluation that the host's metric makes within this context: it returns rounded means alone."""
    evaluations: List[host.COCOeval] = []
    with temporarily(host, **{name: _recording(each, evaluations) for name, each in EVALUATIONS.items()}):
        yield evaluations


def _recording(evaluation_class: type, evaluations: list) -> Callable[..., host.COCOeval]:

    def build(*args: object) -> host.COCOeval:
        evaluations.append(evaluation_class(*args))
        return evaluations[-1]

    return build


def category_precisions(evaluation: host.COCOeval) -> np.ndarray:
    """Return the AP (C,) of each category over all IoU thresholds and sizes; NaN without ground truth.

    As in the host's mAP, the best 100 detections of a category count in each image: of the metric's ``proposal_nums``,
    100, or the largest if 100 is not among them.
    """
    max_dets = list(evaluation.params.maxDets)
    precision = evaluation.eval['precision'][:, :, :, 0, max_dets.index(100) if 100 in max_dets else -1]
    tested = (precision > -1).any(axis=(0, 1))
    return np.where(tested, precision.mean(axis=(0, 1)), np.nan)


@METRICS.register_module()
class CocoMetric(TotalEffectMixin, host.CocoMetric):
    """Same as MMDetection's ``CocoMetric``, except that it also reports AP by the training images of the categories.

    Adds ``coco/bbox_APr``, ``coco/bbox_APc`` and ``coco/bbox_APf``, and the same for ``segm``: the mean AP over the
    rare, common and frequent categories, not rounded. Crowds, sizes and the number of detections are COCO's, as in the
    host's ``mAP``. Categories without ground truth are left out; a group without any other gets -1, as the host's
    ``mAP_s``. Without any detection, all AP are 0. In a validation by TDE, the boxes by total effect follow as
    ``coco/total_effect_bbox_mAP`` and so on, see :class:`mmcausal.hooks.HeadDirectionHook`.

    Args:
        *args: Arguments of the host's metric.
        train_ann_file: Annotation file in COCO format in which to count the training images of each category: those
            with an annotation to train on, see :func:`mmcausal.coco_annotations.is_trained`.
        class_counts: The counts themselves, in the order of the dataset's classes or by class name. By default
            ``metainfo['class_counts']`` of the dataset.
        rare: Categories with at most so many training images are rare, as are those with none.
        common: Categories with more training images are frequent; the others are common.
        groups: Other groups than by ``rare`` and ``common``: two quantiles of the categories sorted by training images,
            such as ``(1/3, 2/3)`` (see :func:`mmcausal.evaluation.quantile_groups`), or a dict of class names or labels
            by the name of their group, reported as ``coco/bbox_AP_<name>``.
        sort_categories: Whether to sort the categories of the annotation files by id, as ``Objects365V1Dataset`` does.
        **kwargs: Arguments of the host's metric.

    Attributes:
        category_aps: AP (C,) of each category, not rounded, by ``'bbox'`` and ``'segm'``, of the last evaluation; NaN
            without ground truth. Empty if there was no detection.

    Raises:
        ValueError: No training images, from none of the three sources or from two; counts or groups that do not fit the
            classes; an annotation file without a class of the dataset or with the classes in another order.
        FileNotFoundError: No such annotation file.

    Example:
        In a config: ``val_evaluator = dict(type='mmcausal.CocoMetric', metric=['bbox', 'segm'],
        ann_file='data/own/val.json', train_ann_file='data/own/train.json')``
    """
    iou_thrs: np.ndarray

    def __init__(self,
                 *args: Any,
                 train_ann_file: Optional[str] = None,
                 class_counts: Optional[ClassCounts] = None,
                 rare: int = 10,
                 common: int = 100,
                 groups: Optional[Groups] = None,
                 sort_categories: bool = False,
                 **kwargs: Any) -> None:
        super().__init__(*args, sort_categories=sort_categories, **kwargs)
        self.sort_categories = sort_categories
        self.iou_thrs = np.atleast_1d(self.iou_thrs)  # NumPy >= 2.1 refuses how pycocotools compares a list
        if train_ann_file is not None and class_counts is not None:
            raise ValueError('train_ann_file must not be given with class_counts, because it has counts of its own, '
                             f'but got {train_ann_file!r} and {class_counts!r}')
        check_path('train_ann_file', '' if train_ann_file is None else train_ann_file)
        self.train_ann_file, self.class_counts = train_ann_file, check_given_counts(class_counts)
        self.rare, self.common = rare, common
        self.own_groups = None if groups is None else check_groups(groups)
        self.groups: Dict[str, np.ndarray] = frequency_groups([], rare, common)  # raises for wrong thresholds
        self.counts: Optional[np.ndarray] = None
        self.category_aps: Dict[str, np.ndarray] = {}
        for annotation in self._coco_api.dataset.get('annotations', []) if self._coco_api is not None else []:
            annotation.setdefault('iscrowd', 0)  # COCOeval needs it, but many files without crowds leave it out

    @property
    def ap_metrics(self) -> List[str]:
        """The kinds of AP to report: ``'bbox'``, ``'segm'``, both or none."""
        return [] if self.format_only else [metric for metric in self.metrics if metric in ('bbox', 'segm')]

    @property
    def dataset_meta(self) -> Optional[dict]:
        """Meta information of the evaluated dataset; setting it raises ``ValueError`` for other categories."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self._dataset_meta = dataset_meta
        # MultiDatasetsEvaluator gives a metric the list of all members' first, later the member's own
        if not dataset_meta or isinstance(dataset_meta, (list, tuple)) or not (self.ap_metrics or self.format_only):
            return
        classes = dataset_meta['classes']
        if self._coco_api is not None:
            names = [category['name'] for category in self._coco_api.dataset['categories']]
            check_category_order(names, classes, "the evaluator's ann_file")
        if self.ap_metrics:
            self.counts = self._training_counts(dataset_meta)
            self.groups = self._class_groups(self.counts, classes)
            self._warn_unused(classes)

    def _training_counts(self, dataset_meta: dict) -> Optional[np.ndarray]:
        if self.train_ann_file is None:
            return training_counts(self.class_counts, dataset_meta)
        content = load_annotations(self.train_ann_file, 'train_ann_file', self.backend_args)
        classes = dataset_meta['classes']
        categories = content['categories']
        if self.sort_categories:
            categories = sorted(categories, key=lambda category: category['id'])
        check_category_order([category['name'] for category in categories], classes, self.train_ann_file)
        counts = image_counts(content)
        return training_counts({name: counts[name] for name in classes}, dataset_meta)

    def _class_groups(self, counts: Optional[np.ndarray], classes: Sequence[str]) -> Dict[str, np.ndarray]:
        if counts is None and not isinstance(self.own_groups, Mapping):
            raise ValueError('CocoMetric needs the training images per category: set train_ann_file or class_counts, '
                             "or test on a dataset with metainfo['class_counts']")
        if self.own_groups is None:
            return frequency_groups(counts, self.rare, self.common)  # type: ignore[arg-type]
        return class_groups(self.own_groups, counts, classes, FREQUENCIES)  # type: ignore[arg-type]

    def _warn_unused(self, classes: Sequence[str]) -> None:
        """Warn of categories without a training image, by name and group."""
        if self.counts is None or self.counts.all():
            return
        group_of = {label: name for name, group in self.groups.items() for label in np.flatnonzero(group).tolist()}
        unused = [f'{classes[label]!r} ({group_of.get(label, "in no group")})'
                  for label in np.flatnonzero(self.counts == 0).tolist()]
        log_text(MMLogger.get_current_instance(), f'{len(unused)} of {len(classes)} categories have no training image: '
                 + ', '.join(unused), logging.WARNING)

    def evaluate_predictions(self, results: list) -> Dict[str, float]:
        with recorded_evaluations() as evaluations:
            values = super().evaluate_predictions(results)
        self.category_aps = {evaluation.params.iouType: category_precisions(evaluation)
                             for evaluation in evaluations if evaluation.params.useCats}
        for metric in self.ap_metrics:
            if metric not in self.category_aps:
                MMLogger.get_current_instance().warning(f'No detections, so all AP of {metric} are 0')
                values.update({f'{metric}_{item}': 0. for item in self.metric_items or DEFAULT_ITEMS})
            values.update(self._group_values(metric))
        if self.ap_metrics:
            self._log_groups(values)
        return values

    def _group_values(self, metric: str) -> Dict[str, float]:
        """Return the result of each group, the mean AP of its categories."""
        if metric not in self.category_aps:
            return {self.group_key(metric, name): 0. for name in self.groups}
        aps = self.category_aps[metric]
        tested = {self.group_key(metric, name): aps[group & ~np.isnan(aps)] for name, group in self.groups.items()}
        return {key: float(values.mean()) if values.size else -1. for key, values in tested.items()}

    @staticmethod
    def group_key(metric: str, name: str) -> str:
        """Return the name of the result of a group, such as ``bbox_APr``."""
        return f'{metric}_AP{LETTERS[name]}' if name in LETTERS else f'{metric}_AP_{name}'

    def _log_groups(self, values: Mapping[str, float]) -> None:
        aps = next(iter(self.category_aps.values()), None)
        names = align(['group', *map(shorten, self.groups)])
        lines = [f'{names[0]}{"categories":>11}{"tested":>8}{"train images":>16}'
                 + ''.join(f'{f"{metric} AP":>9}' for metric in self.ap_metrics)]
        for (name, group), cell in zip(self.groups.items(), names[1:]):
            tested = '-' if aps is None else str(int((~np.isnan(aps[group])).sum()))
            images = '-' if self.counts is None or not group.any() else _span(self.counts[group])
            lines.append(f'{cell}{group.sum():>11}{tested:>8}{images:>16}' + ''.join(
                f'{values[self.group_key(metric, name)]:>9.4f}' for metric in self.ap_metrics))
        log_text(MMLogger.get_current_instance(), '\n'.join(['AP by training images per category:', *lines]))


def _span(counts: np.ndarray) -> str:
    low, high = counts.min(), counts.max()
    return f'{low}' if low == high else f'{low} to {high}'
