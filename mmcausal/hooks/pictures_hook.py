"""Pictures of a classifier in the visualiser's back-ends (TensorBoard, W&B, files) after validation and test."""
from typing import Any, List, Optional, Sequence

import numpy as np
from mmengine.dist import collect_results, is_main_process
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from torch import Tensor

from mmcausal.evaluation.shot_accuracy import shot_groups
from mmcausal.hooks.utils import unwrap
from mmcausal.hosts import is_installed
from mmcausal.models.layers import TDELinear
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class PicturesHook(Hook):
    """Give the pictures of a classifier to MMEngine's ``Visualizer``.

    They are :func:`mmcausal.visualization.classifier_pictures` and, where the package grad-cam is installed,
    :func:`mmcausal.visualization.grad_cam_pictures`.

    After a validation the step is the epoch or iteration, after a test 0. Features of all images are kept in memory
    meanwhile.

    Args:
        interval: Validations from one set of pictures to the next, at least 1.
        many, few: See :func:`mmcausal.evaluation.shot_groups`.

    Raises:
        ImportError: At construction, without torchmetrics and Matplotlib.
        ValueError: At construction, an interval below 1 or shot groups that overlap. Before the first batch, a model
            without exactly one :class:`mmcausal.models.TDELinear`, or a data set without
            ``metainfo['class_counts']``.
    """

    # Before EMAHook (NORMAL) takes its weights back: the pictures are of the model that was validated.
    priority = 'ABOVE_NORMAL'

    def __init__(self, interval: int = 1, many: int = 100, few: int = 20) -> None:
        shot_groups([], many, few)
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
            raise ValueError(f'interval must be an integer of at least 1, but got {interval!r}')
        missing = [package for package in ('torchmetrics', 'matplotlib') if not is_installed(package)]
        if missing:
            raise ImportError(f'PicturesHook needs {", ".join(missing)}: pip install {" ".join(missing)}')
        self.interval = interval
        self.many = many
        self.few = few
        self._validations = 0
        self._samples: List[tuple] = []
        self._input: Optional[Tensor] = None
        self._handle: Any = None

    def before_val_epoch(self, runner: Any) -> None:
        self._validations += 1
        if self._validations % self.interval == 0:
            self._start(runner, runner.val_dataloader.dataset)

    def before_test_epoch(self, runner: Any) -> None:
        self._start(runner, runner.test_dataloader.dataset)

    def _start(self, runner: Any, dataset: Any) -> None:
        layers = [module for module in unwrap(runner.model).modules() if isinstance(module, TDELinear)]
        if len(layers) != 1:
            raise ValueError(f'PicturesHook needs a model with one TDELinear, but got {len(layers)}')
        if 'class_counts' not in dataset.metainfo:
            raise ValueError(f"PicturesHook needs metainfo['class_counts'], which this {type(dataset).__name__} lacks")
        self.layer, self.dataset, self._samples = layers[0], dataset, []
        self._handle = self.layer.register_forward_pre_hook(self._remember)

    def _remember(self, layer: TDELinear, args: tuple) -> None:
        self._input = args[0].detach().float().cpu()

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                       outputs: Optional[Sequence[Any]] = None) -> None:
        if self._handle is not None and self._input is not None and outputs is not None:
            # As arrays: a row of a tensor would carry its whole batch from rank to rank.
            self._samples += zip(self._input.numpy(), (int(sample.gt_label) for sample in outputs))

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self._finish(runner, runner.epoch or runner.iter)  # loops by iterations have no epoch

    def after_test_epoch(self, runner: Any, metrics: Any = None) -> None:
        self._finish(runner, 0)

    def _finish(self, runner: Any, step: int) -> None:
        if self._handle is None:
            return
        self._handle.remove()
        self._handle = None
        samples = collect_results(self._samples, len(self.dataset), device='cpu')
        self._samples = []
        if is_main_process():
            self._draw(runner, samples, step)

    def _draw(self, runner: Any, samples: Any, step: int) -> None:
        from mmcausal.visualization import classifier_pictures, grad_cam_pictures, to_image
        features, labels = map(np.stack, zip(*samples))
        counts = self.dataset.metainfo['class_counts']
        figures = classifier_pictures(self.layer, features, labels, counts,
                                      shot_groups(counts, self.many, self.few))
        model = unwrap(runner.model)
        classifier = model.module if isinstance(model, BaseTTAModel) else model
        figures.update(grad_cam_pictures(classifier, self.layer, self.dataset, labels, counts))
        for name, figure in figures.items():
            runner.visualizer.add_image(name, to_image(figure), step)
