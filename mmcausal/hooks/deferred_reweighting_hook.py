"""Deferred re-weighting: features first, then classes."""
from typing import List

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcausal.checks import check_integer
from mmcausal.hooks.utils import check_epochs, modules_of_type
from mmcausal.models import DeferredReweightingLoss
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class DeferredReweightingHook(Hook):
    """Start the weights of ``DeferredReweightingLoss`` at an epoch: DRW (Cao et al., NeurIPS 2019, arXiv 1906.07413).

    Args:
        begin: Number of epochs to train without weights.

    Raises:
        ValueError: A negative ``begin``; before training, an ``IterBasedTrainLoop``, or a model without a
            ``DeferredReweightingLoss``.
    """

    def __init__(self, begin: int) -> None:
        self.begin = check_integer('begin', begin, 0)
        self.losses: List[DeferredReweightingLoss] = []

    def before_train(self, runner: Runner) -> None:
        check_epochs(self, runner)
        self.losses = modules_of_type(runner.model, DeferredReweightingLoss)
        if not self.losses:
            raise ValueError('DeferredReweightingHook found no mmcausal.DeferredReweightingLoss to defer')

    def before_train_epoch(self, runner: Runner) -> None:
        for loss in self.losses:
            loss.is_active = runner.epoch >= self.begin
