"""What matches detections to LVIS's ground truth: the reference, and a fast implementation with the same figures."""
from typing import Any, List, Sequence, Tuple

import numpy as np

from mmcausal.hosts import is_installed

BACKENDS = ('lvis-api', 'hotcoco')


class Backend:
    """Matches detections to the ground truth of one annotation file."""

    def evaluate(self, detections: List[dict], metric: str, max_dets: int, img_ids: Sequence[int],
                 iou_thrs: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Precision (T, R, K, 4) and recall (T, K, 4) at IoU thresholds, recalls, categories by id and sizes."""
        raise NotImplementedError


class LVISApi(Backend):
    """The reference implementation. ``truth`` is an ``lvis.LVIS``."""

    def __init__(self, truth: Any) -> None:
        self.truth = truth

    def evaluate(self, detections: List[dict], metric: str, max_dets: int, img_ids: Sequence[int],
                 iou_thrs: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        from lvis import LVISEval, LVISResults
        evaluation = LVISEval(self.truth, LVISResults(self.truth, detections, max_dets), metric)
        evaluation.params.img_ids = list(img_ids)
        evaluation.params.iou_thrs = iou_thrs
        evaluation.params.max_dets = max_dets
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation.eval['precision'], evaluation.eval['recall']


class HotCoco(Backend):
    """hotcoco's port of lvis-api to compiled code."""

    def __init__(self, ann_file: str) -> None:
        import hotcoco
        self.truth = hotcoco.LVIS(ann_file)

    def evaluate(self, detections: List[dict], metric: str, max_dets: int, img_ids: Sequence[int],
                 iou_thrs: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        import hotcoco
        detections = [detection for detection in detections if _has_area(detection)]  # as lvis-api
        evaluation = hotcoco.LVISEval(self.truth, hotcoco.LVISResults(self.truth, detections, max_dets), metric)
        evaluation.params.img_ids = sorted(set(img_ids))
        evaluation.params.cat_ids = sorted(self.truth.get_cat_ids())
        evaluation.params.iou_thrs = iou_thrs.tolist()
        evaluation.params.max_dets = [max_dets]
        evaluation.evaluate()
        evaluation.accumulate()
        curves: Any = evaluation.eval
        return curves['precision'][..., 0], curves['recall'][..., 0]  # of the only max_dets


def _has_area(detection: dict) -> bool:
    """lvis-api leaves out empty boxes and masks, after the best ``max_dets`` are chosen."""
    if 'bbox' in detection:
        return bool(np.prod(detection['bbox'][2:]) > 0)
    from pycocotools.mask import area
    return bool(area(detection['segmentation']) > 0)


def check_backend(backend: str) -> None:
    """Raise ``ValueError`` for an unknown back-end, ``ImportError`` for one that is not installed."""
    if backend not in BACKENDS:
        raise ValueError(f'backend must be one of {BACKENDS}, but got {backend!r}')
    if backend == 'hotcoco' and not is_installed('hotcoco'):
        raise ImportError("backend 'hotcoco' needs hotcoco, but it is not installed. Run: pip install hotcoco")


def check_annotations(dataset: dict, backend: str) -> None:
    """Raise ``ValueError`` unless these are LVIS's annotations, in which case a back-end counts them as it should."""
    if not dataset['annotations']:
        raise ValueError('ann_file has no annotations, as those of test sets: nothing can be evaluated, '
                         'format_only=True writes the detections for the server')
    federated = all({'neg_category_ids', 'not_exhaustive_category_ids'} <= set(image) for image in dataset['images'])
    if not federated or not all(category.get('frequency') in ('r', 'c', 'f') for category in dataset['categories']):
        raise ValueError('ann_file must have neg_category_ids and not_exhaustive_category_ids for every image and '
                         'frequency r, c or f for every category, as those of LVIS do')
    ids = [annotation['id'] for annotation in dataset['annotations']]
    if len(set(ids)) < len(ids):
        raise ValueError(f'annotation ids in ann_file must be unique, but {len(ids) - len(set(ids))} are duplicates')
    for annotation in dataset['annotations']:
        if annotation['id'] < 1:  # lvis-api takes a match with annotation 0 for none
            raise ValueError(f'annotation ids in ann_file must be at least 1, but got {annotation["id"]}')
        if backend == 'hotcoco' and not annotation['area'] > 0:
            raise ValueError('backend hotcoco counts annotations without an area, which lvis-api leaves out, and '
                             f"annotation {annotation['id']} of ann_file is one: use backend='lvis-api'")
        if backend == 'hotcoco' and (annotation.get('iscrowd') or annotation.get('ignore')):
            raise ValueError('backend hotcoco treats iscrowd and ignore unlike lvis-api, LVIS has neither, but '
                             f"annotation {annotation['id']} of ann_file does: use backend='lvis-api'")
