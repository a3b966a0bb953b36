"""Accuracy by the number of training samples of a class."""
import logging
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from mmcausal.checks import check_choice, check_flag, is_number
from mmcausal.class_prior import class_probabilities
from mmcausal.encoding import log_text
from mmcausal.evaluation.class_groups import SHOTS, Groups, check_groups, class_groups, shot_groups
from mmcausal.evaluation.training_counts import ClassCounts, check_given_counts, class_names, training_counts
from mmcausal.registry import METRICS
from mmcausal.text import align, shorten

NO_CLASS = -1  # predicted by scores that are not finite
NOT_GROUPS = ('overall', 'prior', 'classwise')  # the other results
Prior = Union[str, Sequence[float], np.ndarray, None]


def _checked_prior(class_prior: Prior) -> Prior:
    """Return ``class_prior`` if it is None, a name or valid weights (C,), else raise ``ValueError``."""
    if class_prior is None or (isinstance(class_prior, str) and class_prior in ('train', 'reversed')):
        return class_prior
    weights: Any = class_prior.tolist() if hasattr(class_prior, 'tolist') else class_prior
    is_list = isinstance(weights, (list, tuple))
    if not is_list or not all(is_number(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ValueError(f"class_prior must be 'train', 'reversed' or {f'{len(weights)} ' if is_list else ''}weights "
                         f'>= 0, not all 0, but got {class_prior!r}')
    return np.asarray(weights, dtype=np.float64)


def predicted_class(scores: Tensor) -> int:
    """Return the class with the largest of the scores (C,), or ``NO_CLASS`` unless all are finite."""
    return int(scores.argmax()) if scores.isfinite().all() else NO_CLASS


@METRICS.register_module()
class ShotAccuracy(BaseMetric):
    """Top-1 accuracy in percent, overall and for the many-, medium- and few-shot classes.

    The accuracy of a shot group is the mean of its class accuracies (Liu et al., CVPR 2019, OLTR); the overall accuracy
    is over all samples. A prediction by scores that are not finite is wrong, and a warning gives the number of those.
    The result omits groups without a tested class. If samples predicted by TDE also have a
    ``total_effect_score`` (C,), the same accuracies by total effect follow: ``total_effect_overall``,
    ``total_effect_many`` and so on.

    Args:
        many: Classes with more training samples are many-shot.
        few: Classes with fewer training samples are few-shot; the others are medium-shot.
        class_counts: Training samples per class (C,) in the order of the labels, or by class name, which cannot be in a
            wrong order. By default ``class_counts`` in the ``metainfo`` of the test set.
        class_prior: Expected class frequencies at deployment (C,), ``'train'`` for the training counts, or
            ``'reversed'`` for their reciprocals. Adds ``prior`` to the result, the mean class accuracy weighted by
            them.
        classwise: Whether to add the accuracy of each class to the result and to log a table.
        collect_device, prefix: As in MMEngine's ``BaseMetric``.
        groups: Other groups than by ``many`` and ``few``: two quantiles of the classes sorted by training samples, such
            as ``(1/3, 2/3)`` (see :func:`mmcausal.evaluation.quantile_groups`), or a dict of class names or labels by
            the name of their group.

    Raises:
        ValueError: ``few`` above ``many`` + 1, no class counts, or counts, groups or a prior that do not fit the
            classes; ``class_counts`` that differ from those of the test set.

    Example:
        In a config: ``test_evaluator = [dict(type='Accuracy'), dict(type='mmcausal.ShotAccuracy')]``
    """
    default_prefix: Optional[str] = 'shot'

    def __init__(self,
                 many: int = 100,
                 few: int = 20,
                 class_counts: Optional[ClassCounts] = None,
                 class_prior: Prior = None,
                 classwise: bool = False,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None,
                 groups: Optional[Groups] = None) -> None:
        check_choice('collect_device', collect_device, ('cpu', 'gpu'))
        super().__init__(collect_device=collect_device, prefix=prefix)
        shot_groups([], many, few)  # raises for wrong thresholds
        self.many, self.few = many, few
        self.own_groups = None if groups is None else check_groups(groups, reserved=NOT_GROUPS)
        self.class_counts = check_given_counts(class_counts)
        self.class_prior = _checked_prior(class_prior)
        self.classwise = check_flag('classwise', classwise)

    @property
    def dataset_meta(self) -> Optional[dict]:
        """Meta information of the test set; setting it raises ``ValueError`` for counts or groups of other classes."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: Optional[dict]) -> None:
        self._dataset_meta = dataset_meta
        if training_counts(self.class_counts, dataset_meta or {}) is not None:
            self.groups()

    def process(self, data_batch: Union[dict, tuple, list, None], data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            label = sample['gt_label']
            if label.numel() != 1:
                raise ValueError(f'ShotAccuracy needs one label per sample, but got {label.tolist()}')
            # As the host's Accuracy: test-time augmentation merges scores, but leaves the label of the first view
            predicted = predicted_class(sample['pred_score']) if 'pred_score' in sample else sample['pred_label']
            total_effect = [predicted_class(sample['total_effect_score'])] if 'total_effect_score' in sample else []
            self.results.append((int(label), int(predicted), *total_effect))

    def compute_metrics(self, results: Union[Sequence[tuple], np.ndarray]) -> Dict[str, Union[float, List[float]]]:
        """Return the accuracies of predictions (N,), and those by total effect too if ``results`` has them.

        Args:
            results: (N, 2) labels and predictions, or (N, 3) with the predictions by total effect last.
        """
        labels, predictions, *total_effect = np.array(results).T
        spoilt = int((predictions == NO_CLASS).sum())
        if spoilt:
            log_text(MMLogger.get_current_instance(), f'{spoilt} of {len(labels)} images have scores that are nan or '
                     'infinite: these predictions count as wrong', logging.WARNING)
        metrics = self._accuracies(labels, predictions)
        for others in total_effect:
            metrics.update({f'total_effect_{name}': value for name, value in self._accuracies(labels, others).items()})
        if self.classwise:
            self._print_table(labels, metrics)
        return metrics

    def _accuracies(self, labels: np.ndarray, predictions: np.ndarray) -> Dict[str, Union[float, List[float]]]:
        counts = self.counts()
        if labels.min() < 0 or labels.max() >= len(counts):
            raise ValueError(f'labels must be in [0, {len(counts)}), the range of class_counts, but got '
                             f'{labels.min()} to {labels.max()}')
        tested = np.bincount(labels, minlength=len(counts))
        correct = np.bincount(labels[labels == predictions], minlength=len(counts))
        with np.errstate(invalid='ignore'):
            accuracy = 100 * correct / tested  # NaN for a class that was not tested

        metrics: Dict[str, Union[float, List[float]]] = dict(overall=float(100 * correct.sum() / tested.sum()))
        for name, group in self.groups().items():
            if (tested[group] > 0).any():
                metrics[name] = float(np.nanmean(accuracy[group]))
        if self.class_prior is not None:
            weights = np.where(tested > 0, self._prior(), 0.)
            if not weights.any():
                raise ValueError('class_prior must not give all its weight to classes without a tested image')
            metrics['prior'] = float(np.nan_to_num(accuracy) @ weights / weights.sum())
        if self.classwise:
            metrics['classwise'] = accuracy.tolist()
        return metrics

    def counts(self) -> np.ndarray:
        """Return the training samples per class (C,)."""
        counts = training_counts(self.class_counts, self.dataset_meta or {})
        if counts is None:
            raise ValueError('ShotAccuracy needs the training samples per class: set class_counts, or test on a '
                             "dataset with metainfo['class_counts']")
        return counts

    def _prior(self) -> np.ndarray:
        counts = self.counts()
        if isinstance(self.class_prior, str):
            if self.class_prior == 'train':
                return counts
            try:
                return class_probabilities(counts.tolist(), power=-1).numpy()
            except ValueError as error:
                raise ValueError(f"class_prior='reversed' needs training samples of all classes: {error}") from error
        prior = np.asarray(self.class_prior)
        if prior.shape != counts.shape:
            raise ValueError(f"class_prior must be 'train', 'reversed' or {len(counts)} weights, but got {len(prior)}")
        return prior

    def groups(self) -> Dict[str, np.ndarray]:
        """Return the mask (C,) of each group, see :func:`shot_groups` and :func:`class_groups`."""
        counts = self.counts()
        if self.own_groups is None:
            return shot_groups(counts, self.many, self.few)
        return class_groups(self.own_groups, counts, class_names(self.dataset_meta or {}, len(counts)), SHOTS)

    def _print_table(self, labels: np.ndarray, metrics: Dict[str, Union[float, List[float]]]) -> None:
        counts = self.counts()
        names = (self.dataset_meta or {}).get('classes') or range(len(counts))
        shots = {label: shot for shot, group in self.groups().items() for label in np.flatnonzero(group)}
        tested = np.bincount(labels, minlength=len(counts))
        accuracies = {title: np.asarray(metrics[name]) for title, name in
                      (('accuracy', 'classwise'), ('total effect', 'total_effect_classwise')) if name in metrics}
        order = np.argsort(-counts, kind='stable')
        columns = [align(['class', *(shorten(names[label], 40) for label in order)]),
                   align(['shot', *(shots.get(label, '-') for label in order)])]
        lines = [f'{"train":>8}{"test":>8}' + ''.join(f'{title:>14}' for title in accuracies),
                 *(f'{counts[label]:>8}{tested[label]:>8}'
                   + ''.join(f'{accuracy[label]:>14.2f}' for accuracy in accuracies.values()) for label in order)]
        log_text(MMLogger.get_current_instance(), '\n'.join(['', *map(''.join, zip(*columns, lines))]))
