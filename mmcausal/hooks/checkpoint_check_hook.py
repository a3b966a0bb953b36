"""Comparison of a checkpoint with the model and its data, before the work starts."""
from typing import List, Mapping, Optional, Sequence, Tuple, Union

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import Dataset

from mmcausal.checkpoints import (
    OTHER_CLASSES,
    OTHER_NETWORK,
    Shapes,
    bare_name,
    check_checkpoint,
    differences,
    missing_parameters,
    moved_classes,
    renamed_classes,
    shapes_of,
    summary,
    weights_of,
)
from mmcausal.datasets.class_counts import TrainingCounts, member_classes
from mmcausal.hooks.utils import is_sharded, modules_of_type, unwrap
from mmcausal.models.layers import TDELinear
from mmcausal.registry import HOOKS


def class_weights(runner: Runner, checkpoint: dict) -> Tuple[Shapes, Shapes]:
    """Return the shapes of the class weights by name: those of the Runner's model, and those of a checkpoint.

    They are the weights of MMPretrain's ``head``, of MMDetection's ``fc_cls`` and of every ``TDELinear``. The names are
    the same inside and outside a test-time wrapper.
    """
    model = unwrap(runner.model)
    layers = {f'{bare_name(name)}.weight' for name, module in model.named_modules() if isinstance(module, TDELinear)}

    def chosen(state: Mapping[str, Tensor]) -> Shapes:
        return {name: shape for name, shape in shapes_of(state, suffix='.weight').items()
                if name.startswith('head.') or name.endswith('fc_cls.weight') or name in layers}

    return chosen(weights_of(model.state_dict())), chosen(weights_of(checkpoint))


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Refuse to test with a checkpoint of other classes, and log it before a training starts from one.

    The hosts leave out class weights that do not fit and log it, so a test would go on with random ones. The names of
    the classes are compared too, with the checkpoint before a test and with the training data in a training: a name
    with another label is refused, as in a folder that lacks a class; other names are logged.

    :class:`HeadDirectionHook` and :class:`DetectorCheckHook` do the same. Of several such hooks, the first one logs.

    Raises:
        ValueError: Before a test, or a validation outside training: parameters that the checkpoint lacks or has in
            another shape, or class names with other labels. Before a training: class names with other labels in the
            validation data; if it goes on (``resume``), weights of another shape, or a checkpoint of weights alone.
    """
    _left_out: Sequence[str] = ()
    _missing: Sequence[str] = ()
    _other_parts: Sequence[str] = ()
    _classes: Sequence[str] = ()
    _source = 'the checkpoint'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if getattr(runner, '_resume', False) and not {'meta', 'message_hub'} <= checkpoint.keys():
            raise ValueError(f'a training must go on (resume) from a checkpoint of its own, but '
                             f'{runner.cfg.get("load_from")} has weights alone; start from them by load_from')
        if not is_sharded(runner.model):  # shapes of shards tell nothing
            self._compare_weights(runner, checkpoint)
        self._source = 'the checkpoint'
        meta = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
        self._classes = _common_names(meta)
        own = getattr(runner.train_dataloader.dataset, 'metainfo', {}) if getattr(runner, '_resume', False) else {}
        if isinstance(own, dict) and isinstance(own.get('class_counts'), TrainingCounts) and 'class_counts' in meta:
            meta['class_counts'] = TrainingCounts(meta['class_counts'])  # MMEngine compares the pickles

    def _compare_weights(self, runner: Runner, checkpoint: dict) -> None:
        own, saved = class_weights(runner, checkpoint)
        common = {name: saved[name] for name in own if name in saved}
        self._left_out = differences({name: own[name] for name in common}, common)
        self._missing = differences({name: own[name] for name in own if name not in common}, {})
        self._other_parts = [clause for clause in missing_parameters(unwrap(runner.model), weights_of(checkpoint))
                             if clause not in self._left_out and clause not in self._missing]

    def before_train(self, runner: Runner) -> None:
        if self._left_out and runner.iter > 0:
            check_checkpoint(type(unwrap(runner.model)).__name__, self._left_out,
                             '. A training goes on with its own classes alone: without resume, load_from fine-tunes')
        if self._classes or self._left_out:
            self._log_other_classes(runner)
        self._left_out = self._missing = self._other_parts = ()  # training replaces what the checkpoint did not provide
        train = getattr(getattr(runner, 'train_dataloader', None), 'dataset', None)
        self._classes, self._source = class_names(train), 'the training data'
        if getattr(runner, 'val_loop', None) is not None:
            self.check_names(runner, runner.val_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        self.check_weights(runner)
        self.check_names(runner, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        self.check_weights(runner)
        self.check_names(runner, runner.test_dataloader.dataset)

    def check_weights(self, runner: Runner) -> None:
        """Raise ``ValueError`` if the last checkpoint did not provide all class weights, or another parameter."""
        model, classes = type(unwrap(runner.model)).__name__, [*self._left_out, *self._missing]
        check_checkpoint(model, classes, OTHER_CLASSES, runner.cfg.get('load_from'))
        check_checkpoint(model, self._other_parts, OTHER_NETWORK, runner.cfg.get('load_from'))

    def check_names(self, runner: Runner, dataset: Dataset) -> None:
        """Log class names of a dataset that are others in the last checkpoint or, after it, in the training data.

        Raises:
            ValueError: Names with other labels.
        """
        own, source = class_names(dataset), self._source
        moved, renamed = (compare(own, self._classes, source) for compare in (moved_classes, renamed_classes))
        if moved:
            raise ValueError(f'the classes of {source} must have the labels of this {type(dataset).__name__}, but '
                             f'{summary(moved)}. Give the data metainfo=dict(classes=...) with all classes of '
                             f'{source}, in its order')
        if renamed and self._logs_for(runner):
            runner.logger.warning(f'{len(renamed)} of {len(own)} classes have other names in {source}, and the results '
                                  f'mean nothing if they are other classes: {summary(renamed)}')

    def _log_other_classes(self, runner: Runner) -> None:
        renamed = renamed_classes(class_names(runner.train_dataloader.dataset), self._classes)
        if not (self._left_out or renamed) or not self._logs_for(runner):
            return
        if self._left_out:
            parts = 'class weights and head direction' if modules_of_type(runner.model, TDELinear) else 'class weights'
            message = f'The checkpoint has another classifier, so its {parts} are left out: {summary(self._left_out)}'
        else:
            message = (f'{len(renamed)} of {len(self._classes)} classes have other names in the checkpoint, and the '
                       f'training starts from their class weights: {summary(renamed)}')
        runner.logger.warning(message)

    def _logs_for(self, runner: Runner) -> bool:
        return next(hook for hook in runner.hooks if isinstance(hook, CheckpointCheckHook)) is self


def class_names(dataset: Optional[Dataset]) -> Sequence[str]:
    """Return the names of the classes of a dataset, or nothing if it has none or its members differ."""
    return _common_names(getattr(dataset, 'metainfo', {}))


def _common_names(metainfo: Union[dict, List[dict]]) -> Sequence[str]:
    first, *others = member_classes(metainfo)
    return first if all(other == first for other in others) else ()
