"""Box and mask average precision of LVIS, on top of MMDetection's metric."""
import sys
import time
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from mmengine.fileio import dump
from mmengine.logging import MMLogger
from torch import Tensor

from mmcausal.checks import check_integer
from mmcausal.datasets.lvis import check_categories
from mmcausal.encoding import log_text
from mmcausal.evaluation.lvis_backends import (
    Backend,
    Detections,
    HotCoco,
    LVISApi,
    check_annotations,
    check_backend,
    chosen_backend,
)
from mmcausal.evaluation.total_effect import TotalEffectMixin
from mmcausal.files import write_text
from mmcausal.hosts import require_host
from mmcausal.lvis_api import repair_lvis_api
from mmcausal.registry import METRICS
from mmcausal.text import pad, shorten

require_host('mmdet')

from mmdet.evaluation.functional import eval_recalls  # noqa: E402
from mmdet.evaluation.metrics.lvis_metric import LVISFixedAPMetric as HostLVISFixedAPMetric  # noqa: E402
from mmdet.evaluation.metrics.lvis_metric import LVISMetric as HostLVISMetric  # noqa: E402

METRIC_NAMES = ('bbox', 'segm', 'proposal_fast')
METRIC_ITEMS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')

if TYPE_CHECKING:
    from lvis import LVIS

repair_lvis_api()


class CheckedSamplesMixin:
    """Check that dataset and samples belong to the metric's annotation file, each as early as possible."""
    _lvis_api: 'LVIS'
    _dataset_meta: Optional[dict]
    cat_ids: List[int]

    @property
    def dataset_meta(self) -> Optional[dict]:
        """Meta information of the evaluated dataset; setting it raises ``ValueError`` for other categories."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        if dataset_meta and 'classes' in dataset_meta:
            names = [category['name'] for category in self._lvis_api.load_cats(self.cat_ids)]
            check_categories(names, dataset_meta['classes'], "the evaluator's ann_file")
        self._dataset_meta = dataset_meta

    def process(self, data_batch: Union[dict, tuple, list, None], data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            self.check_sample(sample)
        super().process(data_batch, data_samples)  # type: ignore[misc]

    def check_sample(self, sample: dict) -> None:
        """Raise ``ValueError`` unless the annotation file has the image and the labels of a data sample."""
        self.check_prediction(sample.get('img_id'), sample['pred_instances']['labels'])

    def check_prediction(self, img_id: Optional[int], labels: Union[np.ndarray, Tensor]) -> None:
        """Raise ``ValueError`` unless the annotation file has this image and the labels (n,) of its detections."""
        if img_id not in self._lvis_api.imgs:
            raise ValueError(f'each data sample needs an img_id of ann_file, but got {img_id!r}')
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.cat_ids):
            raise ValueError(f'labels must be in [0, {len(self.cat_ids)}), the categories of ann_file, but got '
                             f'{int(labels.min())} to {int(labels.max())} in image {img_id}')


@METRICS.register_module()
class LVISFixedAPMetric(CheckedSamplesMixin, HostLVISFixedAPMetric):
    """Same as MMDetection's metric of AP-fixed (Dave et al., 2021), except for checks, and 0 without any detection.

    Raises:
        ValueError: An annotation file without annotations or not in LVIS format, ``format_only``, or data that
            :class:`CheckedSamplesMixin` rejects.
    """

    def __init__(self, *args: Union[str, int, bool, dict, None], **kwargs: Union[str, int, bool, dict, None]) -> None:
        super().__init__(*args, **kwargs)
        check_annotations(self._lvis_api.dataset, 'lvis-api')
        if self.format_only:
            raise ValueError('LVISFixedAPMetric writes no files, but got format_only=True; use LVISMetric')

    def compute_metrics(self, results: dict) -> Dict[str, float]:
        return super().compute_metrics(results) if results else dict.fromkeys(METRIC_ITEMS, 0.)


@METRICS.register_module()
class LVISMetric(CheckedSamplesMixin, TotalEffectMixin, HostLVISMetric):
    """Federated AP of LVIS (Gupta et al., CVPR 2019) for boxes and masks, and class-agnostic proposal recall.

    Reports AP, AP50, AP75, APs, APm, APl, APr, APc and APf as ``lvis/bbox_AP``, ``lvis/segm_APr`` and so on: -1 for a
    group without ground truth, and all 0 without any detection. AP50 and AP75 need their threshold in ``iou_thrs``. The
    size of a mask is its own area, not the area of its box. AP-fixed is another metric, :class:`LVISFixedAPMetric`.
    In a validation by TDE, the boxes by total effect follow as ``lvis/total_effect_bbox_AP`` and so on, see
    :class:`mmcausal.hooks.HeadDirectionHook`.

    Args:
        ann_file: LVIS annotation file.
        metric: One or more of 'bbox', 'segm' and 'proposal_fast'.
        max_dets: Number of detections to keep per image, by score over all classes.
        backend: 'lvis-api', 'hotcoco' for the same metrics in a fraction of the time (extra ``fast-eval``), or 'auto':
            hotcoco if it is installed and treats the annotations like lvis-api. The log names it, and says how long it
            took.
        img_ids: Images to evaluate. By default all of ``ann_file``.
        iou_thrs: IoU thresholds that AP averages over. By default 0.5, 0.55, ..., 0.95.
        metric_items: Metrics to report, also 'AR@300', 'ARs@300', 'ARm@300' and 'ARl@300' for ``max_dets=300``. By
            default the nine above.
        format_only: Whether to only write the files for the evaluation server of LVIS.
        outfile_prefix: Prefix of the files ``<prefix>.bbox.json`` and, with masks, ``<prefix>.segm.json`` to write.
        **kwargs: The host's ``classwise`` (as ``bbox_<name>_precision``, NaN without ground truth), ``proposal_nums``,
            ``collect_device``, ``prefix`` and ``backend_args``.

    Raises:
        ValueError: Arguments out of range; an annotation file without annotations, not in LVIS format or not for this
            back-end; a dataset with other categories; a sample with an unknown image id or label, or without masks.
        FileNotFoundError: No such annotation file.
        ImportError: Back-end 'hotcoco' without the package hotcoco.

    Example:
        In a config: ``test_evaluator = dict(type='mmcausal.LVISMetric', metric=['bbox', 'segm'],
        ann_file='data/coco/annotations/lvis_v1_val.json')``
    """

    def __init__(self,
                 ann_file: Optional[str] = None,
                 metric: Union[str, Sequence[str]] = 'bbox',
                 *,
                 max_dets: int = 300,
                 backend: str = 'auto',
                 img_ids: Optional[Sequence[int]] = None,
                 iou_thrs: Optional[Union[float, Sequence[float]]] = None,
                 metric_items: Optional[Sequence[str]] = None,
                 format_only: bool = False,
                 outfile_prefix: Optional[str] = None,
                 **kwargs: Union[str, bool, int, dict, Sequence[int], None]) -> None:
        metrics = _checked_metrics(metric)
        check_backend(backend)
        ann_file = _checked_ann_file(ann_file, format_only, outfile_prefix)
        self.max_dets = check_integer('max_dets', max_dets, 1)
        super().__init__(ann_file, metrics, iou_thrs=_checked_iou_thrs(iou_thrs), format_only=format_only,
                         outfile_prefix=outfile_prefix, **kwargs)
        self.metric_items = self._checked_items(metric_items)
        if format_only:  # the files of test sets have no annotations
            backend = 'lvis-api'
        else:
            backend = chosen_backend(backend, self._lvis_api.dataset)
            check_annotations(self._lvis_api.dataset, backend)
        self.img_ids = self._checked_img_ids(img_ids)
        self.cat_ids = self._lvis_api.get_cat_ids()
        self.backend: Backend = (HotCoco(ann_file, self.backend_args) if backend == 'hotcoco'
                                 else LVISApi(self._lvis_api))

    def evaluate_predictions(self, results: List[tuple]) -> Dict[str, float]:
        predictions = [prediction for _, prediction in results]
        for prediction in predictions:
            self.check_prediction(prediction['img_id'], prediction['labels'])
        missing = set(self.img_ids) - {prediction['img_id'] for prediction in predictions}
        if missing and not self.format_only:
            MMLogger.get_current_instance().warning(
                f'{len(missing)} of {len(self.img_ids)} images were not tested and count as images without detections; '
                'set img_ids to evaluate fewer')
        if self.outfile_prefix is not None:
            self.results2json(predictions, self.outfile_prefix)
        values: Dict[str, float] = {}
        for metric in [] if self.format_only else self.metrics:
            MMLogger.get_current_instance().info(f'Evaluating {metric}...')
            if metric == 'proposal_fast':
                values.update(self._proposal_recall(predictions))
            else:
                values.update(self._average_precision(predictions, metric))
        return values

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> Dict[str, str]:
        """Write the evaluated detections in LVIS format; return the files by kind, as the host names them."""
        files = {'bbox': f'{outfile_prefix}.bbox.json'}
        if any('masks' in result for result in results):
            files['segm'] = f'{outfile_prefix}.segm.json'
        for metric, file in files.items():
            detections = self._detections(results, metric)
            if '://' in file:  # the host's to write
                dump(detections, file)
            else:
                write_text(file, dump(detections, file_format='json'))
        MMLogger.get_current_instance().info(f'Wrote the detections to {", ".join(files.values())}')
        return files

    def _detections(self, predictions: Sequence[dict], metric: str) -> List[dict]:
        return [detection for prediction in predictions for detection in self._image_detections(prediction, metric)]

    def _image_detections(self, prediction: dict, metric: str) -> List[dict]:
        image_id, scores, labels = prediction['img_id'], prediction['scores'], prediction['labels']
        if metric == 'segm':
            scores = prediction.get('mask_scores', scores)
        best = _ranking(scores)[:self.max_dets]
        if metric == 'bbox':
            name, places = 'bbox', _with_sizes(np.asarray(prediction['bboxes'])[best]).tolist()
        else:  # given a box too, lvis-api would compute the size from it
            name, places = 'segmentation', [_text_rle(prediction['masks'][i]) for i in best]
        image_id, categories = int(image_id), [self.cat_ids[label] for label in np.asarray(labels)[best].tolist()]
        return [{'image_id': image_id, 'category_id': category, 'score': score, name: place}
                for category, score, place in zip(categories, np.asarray(scores)[best].tolist(), places)]

    def _box_rows(self, predictions: Sequence[dict]) -> np.ndarray:
        """Return boxes as rows, see :data:`mmcausal.evaluation.lvis_backends.Detections`."""
        cat_ids, rows = np.array(self.cat_ids), [np.empty((0, 7))]
        for prediction in predictions:
            best = _ranking(prediction['scores'])[:self.max_dets]
            boxes, scores, labels = (np.asarray(prediction[key])[best] for key in ('bboxes', 'scores', 'labels'))
            image_ids = np.full(len(best), prediction['img_id'])
            rows.append(np.column_stack([image_ids, _with_sizes(boxes), scores, cat_ids[labels.astype(int)]]))
        return np.concatenate(rows)

    def _average_precision(self, predictions: Sequence[dict], metric: str) -> Dict[str, float]:
        logger = MMLogger.get_current_instance()
        detections: Detections
        if metric == 'bbox' and self.backend.takes_rows:
            detections = self._box_rows(predictions)
        else:
            detections = self._detections(predictions, metric)
        if not len(detections):
            logger.warning(f'No detections, so all {metric} metrics are 0')
            return {f'{metric}_{item}': 0. for item in self.metric_items}
        logger.info(f'{len(detections)} detections in {len(self.img_ids)} images, matched by {self.backend.name}')
        start = time.monotonic()
        precision, recall = self.backend.evaluate(detections, metric, self.max_dets, self.img_ids, self.iou_thrs)
        logger.info(f'{self.backend.name} took {time.monotonic() - start:.1f} s{_peak_memory()}')
        known = {**self._precisions(precision), **self._recalls(recall)}
        values = {item: known[item] for item in self.metric_items}
        logger.info(f'{metric}: ' + ', '.join(f'{item} {value:.4f}' for item, value in values.items()))
        if self.classwise:
            values.update(self._classwise(precision))
        return {f'{metric}_{item}': value for item, value in values.items()}

    def _precisions(self, precision: np.ndarray) -> Dict[str, float]:
        """Return the nine metrics, for precision (T, R, K, 4) as in :meth:`Backend.evaluate`."""
        values = {'AP': _mean(precision[..., 0])}
        for threshold, name in _single_thresholds(self.iou_thrs):
            values[name] = _mean(precision[np.isclose(self.iou_thrs, threshold), ..., 0])
        for index, size in enumerate('sml', 1):
            values[f'AP{size}'] = _mean(precision[..., index])
        frequencies = np.array([category['frequency'] for category in self._categories()])
        for frequency in 'rcf':
            values[f'AP{frequency}'] = _mean(precision[:, :, frequencies == frequency, 0])
        return values

    def _recalls(self, recall: np.ndarray) -> Dict[str, float]:
        return {name: _mean(recall[..., index]) for index, name in enumerate(_recall_names(self.max_dets))}

    def _classwise(self, precision: np.ndarray) -> Dict[str, float]:
        names = [category['name'] for category in self._categories()]
        values = [_mean(precision[:, :, k, 0], empty=float('nan')) for k in range(len(names))]
        lines = [f'{pad(shorten(name, 31), 32)}{value:>8.4f}' for name, value in zip(names, values)
                 if not np.isnan(value)]
        log_text(MMLogger.get_current_instance(), '\n'.join(
            [f'AP of the {len(lines)} of {len(names)} categories with ground truth:', *lines]))
        return {f'{name}_precision': value for name, value in zip(names, values)}

    def _categories(self) -> List[dict]:
        """Return the categories in the order of the back-ends, which can differ from the annotation file's."""
        return self._lvis_api.load_cats(sorted(self.cat_ids))

    def _proposal_recall(self, predictions: Sequence[dict]) -> Dict[str, float]:
        """Return the host's recall, computed image by image: all at once, NumPy >= 1.24 fails and order matters."""
        by_image = {prediction['img_id']: prediction for prediction in predictions}
        found, total = np.zeros(len(self.proposal_nums)), 0
        for img_id in self.img_ids:
            truth = _ground_truth_boxes(self._lvis_api.img_ann_map[img_id])
            total += len(truth)
            if len(truth) and img_id in by_image:
                boxes = by_image[img_id]['bboxes'][_ranking(by_image[img_id]['scores'])]
                recalls = eval_recalls([truth], [boxes], self.proposal_nums, self.iou_thrs, logger='silent')
                found += len(truth) * recalls.mean(axis=1)
        values = {f'AR@{num}': float(count / max(total, 1)) for num, count in zip(self.proposal_nums, found)}
        MMLogger.get_current_instance().info(', '.join(f'{name} {value:.4f}' for name, value in values.items()))
        return values

    def check_sample(self, sample: dict) -> None:
        # MultiDatasetsEvaluator gives each metric the samples of all members, and takes those of others out in the end
        is_of_member = isinstance(self.dataset_meta, dict) and 'cumulative_sizes' not in self.dataset_meta
        if not self.dataset_meta or is_of_member:
            super().check_sample(sample)
        if 'segm' in self.metrics and 'masks' not in sample['pred_instances']:
            raise ValueError(f"metric 'segm' needs pred_instances with masks, but image {sample['img_id']} has none")

    def _checked_img_ids(self, img_ids: Optional[Sequence[int]]) -> List[int]:
        known = self._lvis_api.get_img_ids()
        chosen = known if img_ids is None else list(img_ids)
        unknown = set(chosen) - set(known)
        if unknown or not chosen:
            raise ValueError(f'img_ids must be one or more images of ann_file, but got unknown {sorted(unknown)} '
                             f'among {len(chosen)}')
        return chosen

    def _checked_items(self, metric_items: Optional[Sequence[str]]) -> List[str]:
        present = [name for _, name in _single_thresholds(self.iou_thrs)]
        precisions = [name for name in METRIC_ITEMS if name in present or name not in ('AP50', 'AP75')]
        items = precisions if metric_items is None else list(metric_items)
        known = precisions + _recall_names(self.max_dets)
        if not set(items) <= set(known):
            raise ValueError(f'metric_items must be among {known} for these iou_thrs and max_dets, but got {items}')
        return items


def _peak_memory() -> str:
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return ''
    unit = 1 if sys.platform == 'darwin' else 1024
    return f'; this process has held at most {getrusage(RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GB'


def _mean(values: np.ndarray, empty: float = -1.) -> float:
    """Return the mean of the values other than -1, which marks undefined ones, or ``empty`` if there are none."""
    values = values[values > -1]
    return float(values.mean()) if values.size else empty


def _ranking(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind='stable')


def _with_sizes(boxes: np.ndarray) -> np.ndarray:
    """Return boxes (N, 4) with width and height in place of their second corner."""
    boxes = boxes.astype(np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def _text_rle(rle: dict) -> dict:
    counts = rle['counts']
    return dict(size=list(rle['size']), counts=counts.decode() if isinstance(counts, bytes) else counts)


def _ground_truth_boxes(annotations: Sequence[dict]) -> np.ndarray:
    boxes = np.array([annotation['bbox'] for annotation in annotations], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _recall_names(max_dets: int) -> List[str]:
    return [f'AR{size}@{max_dets}' for size in ('', 's', 'm', 'l')]


def _single_thresholds(iou_thrs: np.ndarray) -> List[Tuple[float, str]]:
    return [(threshold, name) for threshold, name in ((.5, 'AP50'), (.75, 'AP75'))
            if np.isclose(iou_thrs, threshold).any()]


def _checked_metrics(metric: Union[str, Sequence[str]]) -> List[str]:
    metrics = [metric] if isinstance(metric, str) else list(metric)
    if 'proposal' in metrics:
        raise ValueError("metric must not be 'proposal', which compares no boxes in lvis-api: use 'proposal_fast'")
    if not metrics or not set(metrics) <= set(METRIC_NAMES):
        raise ValueError(f'metric must be one or more of {METRIC_NAMES}, but got {metric!r}')
    return metrics


def _checked_iou_thrs(iou_thrs: Optional[Union[float, Sequence[float]]]) -> np.ndarray:
    if iou_thrs is None:
        return np.linspace(.5, .95, 10)
    thresholds = np.atleast_1d(np.asarray(iou_thrs, dtype=np.float64))
    if not thresholds.size or not ((thresholds > 0) & (thresholds <= 1)).all():
        raise ValueError(f'iou_thrs must be one or more thresholds in (0, 1], but got {iou_thrs}')
    return thresholds


def _checked_ann_file(ann_file: Optional[str], format_only: bool, outfile_prefix: Optional[str]) -> str:
    if ann_file is None:
        raise ValueError('ann_file must be an LVIS annotation file, because only it lists the classes annotated in an '
                         'image, but got None')
    if format_only and outfile_prefix is None:
        raise ValueError('format_only needs outfile_prefix, the path of the files to write, but got None')
    return ann_file
