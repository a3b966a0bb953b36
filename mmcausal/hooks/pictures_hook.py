"""Plots of a classifier in the visualiser's back-ends (TensorBoard, W&B, files) after validation and test."""
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import collect_results, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from mmcausal.checks import check_integer
from mmcausal.evaluation import ShotAccuracy, shot_groups
from mmcausal.hooks.utils import unwrap
from mmcausal.hosts import require_packages
from mmcausal.models.enable_tde import without_wrappers
from mmcausal.models.layers import TDELinear
from mmcausal.models.tde_support import check_tde
from mmcausal.registry import HOOKS

if TYPE_CHECKING:
    from mmpretrain.structures import DataSample

# Feature (D,), label and, by name, the scores (C,) of one image
Sample = Tuple[np.ndarray, int, Dict[str, np.ndarray]]


@HOOKS.register_module()
class PicturesHook(Hook):
    """Send the plots of a classifier to MMEngine's ``Visualizer`` after validation and test.

    These are :func:`mmcausal.visualization.classifier_pictures` and, if the package grad-cam is installed,
    :func:`mmcausal.visualization.grad_cam_pictures`. Their step is the epoch or iteration of a validation, or 0 after a
    test. Features and scores of all images stay in memory until they are drawn.

    Accuracies, confusion and calibration are those of the model's own predictions: with test-time augmentation, of the
    merged scores. The total effect is drawn beside TDE if the predictions have it, see :class:`HeadDirectionHook` and
    :class:`mmcausal.models.TDEClassifierTTA`. Features are those of the last view.

    Args:
        interval: Draw after each ``interval``-th validation, at least 1.
        many, few: Thresholds of the shot groups, see :func:`mmcausal.evaluation.shot_groups`. By default the groups of
            the :class:`mmcausal.evaluation.ShotAccuracy` that evaluates the same images, or 100 and 20.

    Raises:
        ImportError: At construction, without torchmetrics and Matplotlib.
        ValueError: At construction, an interval below 1 or overlapping shot groups. Before the first batch, a model
            without exactly one :class:`mmcausal.models.TDELinear`, or with one that has no TDE, or a dataset without
            ``metainfo['class_counts']``.

    Example:
        In a config: ``custom_hooks = [dict(type='mmcausal.PicturesHook', interval=10)]``
    """
    # Before EMAHook (NORMAL) restores its weights, so that the plots show the validated model.
    priority = 'ABOVE_NORMAL'

    def __init__(self, interval: int = 1, many: Optional[int] = None, few: Optional[int] = None) -> None:
        self.interval = check_integer('interval', interval, 1)
        self.thresholds = {name: value for name, value in (('many', many), ('few', few)) if value is not None}
        shot_groups([], **self.thresholds)  # raises for overlapping groups
        require_packages('PicturesHook', 'torchmetrics', 'matplotlib')
        self._validations = 0
        self._samples: List[Sample] = []
        self._input: Optional[Tensor] = None
        self._handle: Optional[RemovableHandle] = None

    def before_val_epoch(self, runner: Runner) -> None:
        self._validations += 1
        if self._validations % self.interval == 0:
            self._start(runner, runner.val_dataloader.dataset)

    def before_test_epoch(self, runner: Runner) -> None:
        self._start(runner, runner.test_dataloader.dataset)

    def _start(self, runner: Runner, dataset: BaseDataset) -> None:
        layers = {name: layer for name, layer in unwrap(runner.model).named_modules() if isinstance(layer, TDELinear)}
        if len(layers) != 1:
            raise ValueError(f'PicturesHook needs a model with one TDELinear, but got {len(layers)}')
        check_tde(unwrap(runner.model), *layers)
        if 'class_counts' not in dataset.metainfo:
            raise ValueError(f"PicturesHook needs metainfo['class_counts'], but this {type(dataset).__name__} lacks it")
        (self.layer, ), self.dataset, self._samples = layers.values(), dataset, []
        self._handle = self.layer.register_forward_pre_hook(self._remember)

    def _remember(self, layer: TDELinear, args: Tuple[Tensor]) -> None:
        self._input = args[0].detach().float().cpu()

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Union[dict, tuple, list, None] = None,
                       outputs: Optional[Sequence['DataSample']] = None) -> None:
        if self._handle is not None and self._input is not None and outputs is not None:
            # As arrays: a row of a tensor would carry its whole batch from rank to rank.
            self._samples += [(feature, int(sample.gt_label), self._scores_of(sample))
                              for feature, sample in zip(self._input.numpy(), outputs)]

    after_test_iter = after_val_iter

    def _scores_of(self, sample: 'DataSample') -> Dict[str, np.ndarray]:
        scores = {'total effect' if self.layer.alpha == 0 else 'TDE': sample.pred_score}
        if 'total_effect_score' in sample:
            scores = {'total effect': sample.total_effect_score, **scores}
        return {name: score.float().cpu().numpy() for name, score in scores.items()}

    def after_val_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        self._finish(runner, runner.epoch or runner.iter, runner.val_evaluator)  # loops by iterations have no epoch

    def after_test_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        self._finish(runner, 0, runner.test_evaluator)

    def _finish(self, runner: Runner, step: int, evaluator: Evaluator) -> None:
        if self._handle is None:
            return
        self._handle.remove()
        samples = collect_results(self._samples, len(self.dataset), device='cpu')
        self._handle, self._samples = None, []
        if is_main_process():
            self._draw(runner, samples, step, self._groups(evaluator))

    def _groups(self, evaluator: Evaluator) -> Dict[str, np.ndarray]:
        own = [metric.groups() for metric in evaluator.metrics if isinstance(metric, ShotAccuracy)]
        return own[0] if own and not self.thresholds else shot_groups(
            self.dataset.metainfo['class_counts'], **self.thresholds)

    def _draw(self, runner: Runner, samples: List[Sample], step: int, groups: Dict[str, np.ndarray]) -> None:
        from mmcausal.visualization import classifier_pictures, grad_cam_pictures, to_image
        features = np.stack([feature for feature, _, _ in samples])
        labels = np.array([label for _, label, _ in samples])
        probs = {name: np.stack([scores[name] for _, _, scores in samples]) for name in samples[0][2]}
        counts = self.dataset.metainfo['class_counts']
        figures = classifier_pictures(self.layer, features, labels, counts, groups, probs=probs,
                                      names=self.dataset.metainfo.get('classes'))
        figures.update(grad_cam_pictures(without_wrappers(runner.model), self.layer, self.dataset, labels, counts,
                                         probs=probs))
        for name, figure in figures.items():
            runner.visualizer.add_image(name, to_image(figure), step)
