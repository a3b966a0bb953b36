"""Back-ends that match detections to LVIS ground truth: the reference, and a fast one with the same metrics."""
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple, Union

import numpy as np
from mmengine.fileio import get_local_path
from mmengine.logging import MMLogger

from mmcausal.checks import check_choice
from mmcausal.hosts import is_installed

if TYPE_CHECKING:
    from lvis import LVIS

BACKENDS = ('auto', 'lvis-api', 'hotcoco')
# One dictionary each, as in a file of results, or boxes as rows (N, 7) of image, x, y, width, height, score, category
Detections = Union[List[dict], np.ndarray]


class Backend:
    """Base of the back-ends, each for the ground truth of one annotation file."""
    name: str
    takes_rows: bool  # whether evaluate() takes boxes as an array, which is faster to make

    def evaluate(self, detections: Detections, metric: str, max_dets: int, img_ids: Sequence[int],
                 iou_thrs: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return precision (T, R, K, 4) and recall (T, K, 4) by IoU threshold, recall, category id and size."""
        raise NotImplementedError


class LVISApi(Backend):
    """Reference implementation, lvis-api. It compares each category with each image, so it logs how far it is."""
    name = 'lvis-api'
    takes_rows = False

    def __init__(self, truth: 'LVIS') -> None:
        self.truth = truth

    def evaluate(self, detections: Detections, metric: str, max_dets: int, img_ids: Sequence[int],
                 iou_thrs: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        from lvis import LVISResults
        evaluation = _logging_evaluation()(self.truth, LVISResults(self.truth, detections, max_dets), metric)
        evaluation.params.img_ids = list(img_ids)
        evaluation.params.iou_thrs = iou_thrs
        evaluation.params.max_dets = max_dets
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation.eval['precision'], evaluation.eval['recall']


def _logging_evaluation() -> type:
    from lvis import LVISEval

    class LoggingEvaluation(LVISEval):
        """Same as lvis-api's, except that it logs each tenth of its comparisons."""
        done = 0

        def evaluate_img(self, *args: Any) -> Any:
            total = len(self.params.img_ids) * len(self.params.cat_ids) * len(self.params.area_rng)
            self.done += 1
            tenths = self.done * 10 // total
            if tenths > (self.done - 1) * 10 // total:
                MMLogger.get_current_instance().info(f'lvis-api: {10 * tenths} % of {total} comparisons')
            return super().evaluate_img(*args)

    return LoggingEvaluation


class HotCoco(Backend):
    """Port of lvis-api to compiled code, hotcoco."""
    name = 'hotcoco'
    takes_rows = True

    def __init__(self, ann_file: str, backend_args: Optional[dict]) -> None:
        import hotcoco
        with get_local_path(ann_file, backend_args=backend_args) as local_path:
            self.truth = hotcoco.LVIS(local_path)

    def evaluate(self, detections: Detections, metric: str, max_dets: int, img_ids: Sequence[int],
                 iou_thrs: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        import hotcoco
        results = hotcoco.LVISResults(self.truth, _with_area(detections), max_dets)
        evaluation: Any = hotcoco.LVISEval(self.truth, results, metric)  # type: ignore[arg-type]
        evaluation.params.img_ids = sorted(set(img_ids))
        evaluation.params.cat_ids = sorted(self.truth.get_cat_ids())
        evaluation.params.iou_thrs = iou_thrs.tolist()
        evaluation.params.max_dets = [max_dets]
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation.eval['precision'][..., 0], evaluation.eval['recall'][..., 0]  # of the only max_dets


def _with_area(detections: Detections) -> Detections:
    """Leave out empty boxes and masks, as lvis-api does, which chooses the best ``max_dets`` before."""
    if isinstance(detections, np.ndarray):
        return detections[detections[:, 3] * detections[:, 4] > 0]
    from pycocotools.mask import area
    return [each for each in detections
            if (each['bbox'][2] * each['bbox'][3] if 'bbox' in each else area(each['segmentation'])) > 0]


def check_backend(backend: str) -> None:
    """Raise ``ValueError`` for an unknown back-end, and ``ImportError`` for one that is not installed."""
    check_choice('backend', backend, BACKENDS)
    if backend == 'hotcoco' and not is_installed('hotcoco'):
        raise ImportError("backend 'hotcoco' needs hotcoco, but it is not installed. Run: pip install hotcoco")


def chosen_backend(backend: str, dataset: dict) -> str:
    """Return the back-end for a dataset in LVIS format: ``'auto'`` is hotcoco, if it is installed and fits the data."""
    if backend != 'auto':
        return backend
    fits = is_installed('hotcoco') and not any(map(_is_another_in_hotcoco, dataset['annotations']))
    return 'hotcoco' if fits else 'lvis-api'


def _is_another_in_hotcoco(annotation: dict) -> bool:
    """Return whether hotcoco treats an annotation unlike lvis-api."""
    return bool(annotation.get('iscrowd') or annotation.get('ignore') or not annotation.get('area', 0) > 0)


def check_annotations(dataset: dict, backend: str) -> None:
    """Raise ``ValueError`` unless these are federated annotations that the back-end evaluates like lvis-api."""
    if not dataset['annotations']:
        raise ValueError('ann_file has no annotations to evaluate on, like the files of LVIS test sets; with '
                         'format_only=True, the metric writes the detections for the evaluation server')
    federated = all({'neg_category_ids', 'not_exhaustive_category_ids'} <= set(image) for image in dataset['images'])
    if not federated or not all(category.get('frequency') in ('r', 'c', 'f') for category in dataset['categories']):
        raise ValueError('ann_file must have neg_category_ids and not_exhaustive_category_ids for every image and '
                         'frequency r, c or f for every category, like the files of LVIS, but some are missing')
    ids = [annotation['id'] for annotation in dataset['annotations']]
    if len(set(ids)) < len(ids):
        raise ValueError(f'annotation ids in ann_file must be unique, but {len(ids) - len(set(ids))} are duplicates')
    for annotation in dataset['annotations']:
        if annotation['id'] < 1:  # lvis-api mistakes a match with annotation 0 for no match
            raise ValueError(f'annotation ids in ann_file must be at least 1, but got {annotation["id"]}')
        if backend == 'hotcoco' and _is_another_in_hotcoco(annotation):
            raise ValueError('backend hotcoco needs annotations with an area above 0 and without iscrowd and ignore, '
                             f"but got annotation {annotation['id']} of ann_file: use backend='lvis-api'")
