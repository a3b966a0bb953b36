"""Schedule of the head direction, and what it is worth at each validation."""
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Union

from mmengine.model import BaseTTAModel
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmcausal.checks import check_flag, is_number
from mmcausal.commands import sweep_command
from mmcausal.datasets.class_counts import classes_of
from mmcausal.hooks.checkpoint_check_hook import CheckpointCheckHook
from mmcausal.hooks.strategies import check_strategy, has_stepped
from mmcausal.hooks.utils import modules_of_type, unwrap
from mmcausal.models.enable_tde import without_wrappers
from mmcausal.models.layers import Alpha, DetectionDeconfoundLinear, NCMLinear, TDELinear
from mmcausal.models.tde_support import check_tde
from mmcausal.models.total_effect import TotalEffectRecorder
from mmcausal.registry import HOOKS

if TYPE_CHECKING:
    from mmcausal.models.roi_heads.total_effect import DetectionTotalEffectRecorder

# Metrics by total effect that tell whether TDE helps: of ShotAccuracy, CocoMetric, LVISMetric
TOTAL_EFFECTS = ('total_effect_overall', 'total_effect_bbox_mAP', 'total_effect_bbox_AP')


@HOOKS.register_module()
class HeadDirectionHook(CheckpointCheckHook):
    """Update the head direction of every :class:`mmcausal.models.TDELinear` after each optimiser step.

    Under gradient accumulation, the direction moves once for all iterations of a step. The layers add the features and
    counts of all ranks, so every rank keeps the direction of the whole batch. Everything stays on the device: no
    iteration waits for it.

    While a classifier is validated or tested by TDE, its predictions also have the scores by total effect, so that
    :class:`mmcausal.evaluation.ShotAccuracy` reports both. So do :class:`mmcausal.evaluation.CocoMetric` and
    :class:`mmcausal.evaluation.LVISMetric` for the boxes of a detector, in validations alone, because that costs a
    second NMS and a second evaluation. If a validation has a lower overall accuracy or box AP by TDE, a warning names
    the command that chooses alpha.

    A batch with features that are not finite is left out of the direction. The log says so once, at the end of an epoch
    or before a validation, and gives their number at the end of the training.

    It also compares a checkpoint with the model and its data, see :class:`CheckpointCheckHook`. A validation before the
    first update has no direction for TDE yet: it is by the total effect, and the log says so.

    Args:
        momentum: Weight of the old average in [0, 1), or ``'auto'``: the optimiser's own ``momentum`` or first
            ``beta`` at that moment (the paper's choice: the direction follows the optimiser's momentum).
        keep_direction: Whether a new training that starts from a checkpoint (``load_from``) keeps the direction of the
            checkpoint, if the checkpoint has the same classifier. By default it starts from zero, because the features
            are about to change. A resumed training always keeps it.

    Raises:
        ValueError: ``momentum`` out of range; before training, a model without a ``TDELinear``, or with one that has
            no TDE (:func:`mmcausal.models.tde_support.check_tde`) or other classes than the training data; a
            ``BBNClassifier`` whose classifier has an odd ``num_heads``; several optimisers, or one without a momentum;
            a ``MeanTeacherHook`` that skips buffers; a strategy of MMEngine that nobody has tried, or buffers in half
            precision. Before a test, see :class:`CheckpointCheckHook`.

    Example:
        In a config: ``custom_hooks = [dict(type='mmcausal.HeadDirectionHook')]``
    """
    # Before EMAHook (NORMAL) copies the model's buffers and CheckpointHook (VERY_LOW) saves them.
    priority = 'ABOVE_NORMAL'

    def __init__(self, momentum: Union[float, str] = 'auto', keep_direction: bool = False) -> None:
        if momentum != 'auto' and not (is_number(momentum) and 0 <= float(momentum) < 1):
            raise ValueError(f"momentum must be a number in [0, 1) or 'auto', but got {momentum!r}")
        self.momentum = momentum
        self.keep_direction = check_flag('keep_direction', keep_direction)
        self.layers: List[TDELinear] = []
        self._alphas: Dict[TDELinear, Alpha] = {}
        self._recorder: Union[TotalEffectRecorder, 'DetectionTotalEffectRecorder', None] = None

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        check_strategy(runner)
        self.layers = modules_of_type(runner.model, TDELinear)
        if not self.layers:
            raise ValueError('HeadDirectionHook needs a model with a TDELinear such as DeconfoundLinear, e.g. in the '
                             "head dict(type='mmcausal.DeconfoundHead'), but got "
                             f'{type(unwrap(runner.model)).__name__}')
        for name, layer in unwrap(runner.model).named_modules():
            # Class means are not trained, and as the memory of OLTRHead they yield no logits
            if isinstance(layer, TDELinear) and not isinstance(layer, NCMLinear):
                check_tde(unwrap(runner.model), name)
        # Of MMDetection's MeanTeacherHook
        if any(getattr(hook, 'skip_buffers', False) for hook in getattr(runner, 'hooks', ())):
            raise ValueError('MeanTeacherHook must have skip_buffer=False, because the head direction is a buffer: '
                             'without it, the teacher, which predicts, has no TDE')
        if hasattr(unwrap(runner.model), 'conventional_share') and any(layer.num_heads % 2 for layer in self.layers):
            raise ValueError('BBNClassifier needs a classifier with an even num_heads, because it scales each half of '
                             'the features by the share of its branch, and with it the head direction')
        self._check_classes(getattr(runner, 'train_dataloader', None))
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            raise ValueError('HeadDirectionHook follows the steps of one optimiser, but got an OptimWrapperDict of '
                             f'{list(runner.optim_wrapper.keys())}')
        self._momentum(runner)
        for layer in self.layers:
            layer.is_scheduled = True
        if not getattr(runner, 'iter', 0) and not self.keep_direction:
            for layer in self.layers:
                layer.reset_direction()

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[Sequence[dict]] = None,
                         outputs: Optional[dict] = None) -> None:
        if not has_stepped(runner.optim_wrapper):
            return
        momentum = self._momentum(runner)
        for layer in self.layers:
            layer.update_direction(momentum)

    def after_train_epoch(self, runner: Runner) -> None:
        self._log_skipped(runner)

    def _log_skipped(self, runner: Runner) -> None:
        """Log the batches that were left out of the directions, unless it was logged before."""
        for layer in self.layers:
            if not layer.has_told_of_skipped and layer.num_skipped:
                layer.has_told_of_skipped = True
                runner.logger.warning(layer.skipped_batches())

    def before_val(self, runner: Runner) -> None:
        super().before_val(runner)
        self._log_skipped(runner)  # a loop by iterations has one epoch
        without = [layer for layer in self.layers if layer.alpha != 0 and not layer.mean_feature.any()]
        self._alphas = {layer: layer.alpha for layer in without}
        for layer in without:
            layer.alpha = 0.
        if without:
            runner.logger.warning('This validation is by the total effect (alpha = 0), because nothing has moved the '
                                  'head direction yet: there was no optimiser step or, in a detector, no foreground '
                                  'proposal (then check the class names)')

    def after_val(self, runner: Runner) -> None:
        for layer, alpha in self._alphas.items():
            layer.alpha = alpha
        self._alphas = {}

    def after_train(self, runner: Runner) -> None:
        for layer in self.layers:
            if not layer.mean_feature.any() and not isinstance(layer, NCMLinear):
                runner.logger.warning(f'The head direction was never updated: {layer.without_samples}')
            if layer.num_skipped:
                runner.logger.warning(f'In this training, {layer.skipped_batches()}')
            cosine = float(layer.mean_cosine)
            if cosine > 0:
                runner.logger.info(f'Mean cosine of features and head direction {cosine:.3f}: '
                                   f"alpha='auto' is {1 / cosine:.3f} (alpha * mean cosine = 1)")
        self.layers = []

    def before_val_epoch(self, runner: Runner) -> None:
        self.before_test_epoch(runner)
        model = without_wrappers(runner.model)
        # Detectors that hold another detector, such as SoftTeacher, have no RoI head of their own
        if hasattr(model, 'roi_head') and any(isinstance(each, DetectionDeconfoundLinear) for each in model.modules()):
            from mmcausal.models.roi_heads.total_effect import DetectionTotalEffectRecorder  # needs MMDetection
            self._recorder = DetectionTotalEffectRecorder(model)

    def before_test_epoch(self, runner: Runner) -> None:
        self._stop_recording()
        model = unwrap(runner.model)
        # TDEClassifierTTA records for itself; other wrappers would keep the total effect of the first view alone.
        if not isinstance(model, BaseTTAModel):
            self._recorder = TotalEffectRecorder(model)

    def after_val_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        self._stop_recording()
        metrics = metrics or {}
        name = next((name for name in metrics if name.endswith(TOTAL_EFFECTS)), None)
        if name is not None and metrics[name.replace('total_effect_', '')] < metrics[name]:
            self._warn(runner, metrics[name.replace('total_effect_', '')], metrics[name])

    def after_test_epoch(self, runner: Runner, metrics: Optional[Dict[str, float]] = None) -> None:
        self._stop_recording()

    def _stop_recording(self) -> None:
        if self._recorder is not None:
            self._recorder.remove()
            self._recorder = None

    def _warn(self, runner: Runner, tde: float, total_effect: float) -> None:
        name, layer = next((name, layer) for name, layer in without_wrappers(runner.model).named_modules()
                           if isinstance(layer, TDELinear) and layer.alpha != 0)
        last = Path(runner.work_dir) / 'last_checkpoint'
        checkpoint = last.read_text(encoding='utf-8').strip() if last.is_file() else None
        if isinstance(layer, DetectionDeconfoundLinear):
            found, options = f'AP {tde:.4f} against {total_effect:.4f}', dict(tool='sweep_detector_alpha')
        else:
            found, options = f'{tde:.2f} % against {total_effect:.2f} %', dict(classifier=name)
        command = sweep_command(runner.cfg.filename, checkpoint, **options)
        runner.logger.warning(f'TDE with alpha={layer.alpha!r} is worse here than the total effect (alpha=0): {found}. '
                              f'Choose alpha on held-out images: {command}')

    def _check_classes(self, dataloader: Optional[DataLoader]) -> None:
        # DetectorCheckHook compares those of detectors
        layers = [layer for layer in self.layers if not isinstance(layer, DetectionDeconfoundLinear)]
        classes = classes_of(getattr(dataloader, 'dataset', None)) if layers else None
        for layer in layers:
            if classes is not None and len(classes) != layer.out_features:
                raise ValueError(f'num_classes must be that of the data, but the classifier has {layer.out_features} '
                                 f'classes, and the training data {len(classes)}')

    def _momentum(self, runner: Runner) -> float:
        if not isinstance(self.momentum, str):
            return float(self.momentum)
        group = runner.optim_wrapper.param_groups[0]
        momentum = group['betas'][0] if 'betas' in group else group.get('momentum') or None
        if momentum is None:
            raise ValueError("HeadDirectionHook(momentum='auto') found neither momentum nor betas in "
                             f'{type(runner.optim_wrapper.optimizer).__name__}; set momentum to a number')
        return float(momentum)
