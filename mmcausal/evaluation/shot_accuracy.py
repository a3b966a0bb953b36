"""Accuracy by how often a class was seen in training."""
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from mmcausal.registry import METRICS


def shot_groups(class_counts: Any, many: int = 100, few: int = 20) -> Dict[str, np.ndarray]:
    """Which classes (C,) are many-shot (more than ``many`` training samples), few-shot (fewer than ``few``) or between.

    Raises:
        ValueError: ``few`` above ``many`` + 1, where a class would be both.
    """
    if few > many + 1:
        raise ValueError(f'few must not be above many + 1, but got few={few}, many={many}')
    counts = np.asarray(class_counts)
    return dict(many=counts > many, medium=(counts <= many) & (counts >= few), few=counts < few)


def _checked_prior(class_prior: Any) -> Any:
    """``class_prior`` where it is None, ``'train'`` or numbers (C,) that can be weights, else ``ValueError``."""
    if class_prior is None or (isinstance(class_prior, str) and class_prior == 'train'):
        return class_prior
    try:
        prior = np.asarray(class_prior, dtype=np.float64)
        is_usable = prior.ndim == 1 and np.isfinite(prior).all() and (prior >= 0).all() and prior.any()
    except (TypeError, ValueError):
        is_usable = False
    if not is_usable:
        number = '' if isinstance(class_prior, (str, float, int)) else f'{len(class_prior)} '
        raise ValueError(f"class_prior must be 'train' or {number}weights, none negative and not all zero, but got "
                         f'{class_prior!r}')
    return prior


@METRICS.register_module()
class ShotAccuracy(BaseMetric):
    """Top-1 accuracy in percent, overall and over the many-, medium- and few-shot classes.

    A shot group's accuracy is the mean over its classes of the class accuracy (Liu et al., CVPR 2019, OLTR), overall
    accuracy the share of all samples. A group without a tested class is left out of the result.

    Args:
        many: Classes with more training samples than this are many-shot.
        few: Classes with fewer training samples than this are few-shot; those in between are medium-shot.
        class_counts: Training samples per class. By default ``class_counts`` in the ``metainfo`` of the test set.
        class_prior: How often each class is met in use, e.g. in a long-tailed test set: C numbers, or ``'train'`` for
            the training counts. It adds ``prior`` to the result, the mean class accuracy weighted by it.
        classwise: Whether to add the accuracy of every class to the result and to print a table of them.
        collect_device, prefix: As in MMEngine's ``BaseMetric``.

    Raises:
        ValueError: ``few`` above ``many`` + 1, no class counts, counts that do not fit the labels, or a prior that does
            not fit the classes.
    """
    default_prefix: Optional[str] = 'shot'

    def __init__(self,
                 many: int = 100,
                 few: int = 20,
                 class_counts: Optional[Sequence[int]] = None,
                 class_prior: Optional[Union[str, Sequence[float]]] = None,
                 classwise: bool = False,
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        shot_groups([], many, few)  # refuses wrong thresholds
        self.many = many
        self.few = few
        self.class_counts = class_counts
        self.class_prior = _checked_prior(class_prior)
        self.classwise = classwise

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            label = sample['gt_label']
            if label.numel() != 1:
                raise ValueError(f'ShotAccuracy needs one label per sample, but got {label.tolist()}')
            self.results.append((int(label), int(sample['pred_label'])))

    def compute_metrics(self, results: List[tuple]) -> Dict[str, Any]:
        counts = self.counts()
        labels, predictions = np.array(results).T
        if labels.min() < 0:
            raise ValueError(f'labels must not be negative, but got {labels.min()}')
        if labels.max() >= len(counts):
            raise ValueError(f'class_counts has {len(counts)} classes, but label {labels.max()} was tested')
        tested = np.bincount(labels, minlength=len(counts))
        correct = np.bincount(labels[labels == predictions], minlength=len(counts))
        with np.errstate(invalid='ignore'):
            accuracy = 100 * correct / tested  # NaN for a class that was not tested

        metrics: Dict[str, Any] = dict(overall=float(100 * correct.sum() / tested.sum()))
        for name, group in self.groups().items():
            if (tested[group] > 0).any():
                metrics[name] = float(np.nanmean(accuracy[group]))
        if self.class_prior is not None:
            weights = np.where(tested > 0, self._prior(), 0.)
            if not weights.any():
                raise ValueError('class_prior gives all its weight to classes without a tested image')
            metrics['prior'] = float(np.nan_to_num(accuracy) @ weights / weights.sum())
        if self.classwise:
            self._print_table(counts, tested, accuracy)
            metrics['classwise'] = accuracy.tolist()
        return metrics

    def counts(self) -> np.ndarray:
        """Training samples per class (C,)."""
        counts = self.class_counts
        if counts is None:
            counts = (self.dataset_meta or {}).get('class_counts')
        if counts is None:
            raise ValueError('ShotAccuracy needs the training samples per class: give class_counts, or test on a data '
                             "set with metainfo['class_counts']")
        return np.asarray(counts)

    def _prior(self) -> np.ndarray:
        counts = self.counts()
        prior = counts if isinstance(self.class_prior, str) else np.asarray(self.class_prior)
        if prior.shape != counts.shape:
            raise ValueError(f"class_prior must be 'train' or {len(counts)} weights, but got {len(prior)}")
        return prior

    def groups(self) -> Dict[str, np.ndarray]:
        """Which classes (C,) belong to each shot group."""
        return shot_groups(self.counts(), self.many, self.few)

    def _print_table(self, counts: np.ndarray, tested: np.ndarray, accuracy: np.ndarray) -> None:
        names = (self.dataset_meta or {}).get('classes', range(len(counts)))
        shots = {label: shot for shot, group in self.groups().items() for label in np.flatnonzero(group)}
        lines = [f'{"class":<24}{"shot":<8}{"train":>8}{"test":>8}{"accuracy":>10}']
        for label in np.argsort(-counts, kind='stable'):
            lines.append(f'{str(names[label]):<24}{shots[label]:<8}{counts[label]:>8}{tested[label]:>8}'
                         f'{accuracy[label]:>10.2f}')
        MMLogger.get_current_instance().info('\n'.join(['', *lines]))
