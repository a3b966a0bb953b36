"""Deferred re-weighting: first the features, then the classes."""
from typing import Any, List

from mmengine.hooks import Hook
from torch import nn

from mmcausal.hooks.utils import unwrap
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class DeferredReweightingHook(Hook):
    """DRW (Cao et al., NeurIPS 2019, arXiv 1906.07413): ``DeferredReweightingLoss`` weighs its images from an epoch on.

    Args:
        begin: Epochs to train without weights.

    Raises:
        ValueError: A negative ``begin``; before training, a model without a ``DeferredReweightingLoss``.
    """

    def __init__(self, begin: int) -> None:
        if isinstance(begin, bool) or not isinstance(begin, int) or begin < 0:
            raise ValueError(f'begin must be a number of epochs, got {begin!r}')
        self.begin = begin
        self.losses: List[nn.Module] = []

    def before_train(self, runner: Any) -> None:
        from mmcausal.models import DeferredReweightingLoss
        self.losses = [m for m in unwrap(runner.model).modules() if isinstance(m, DeferredReweightingLoss)]
        if not self.losses:
            raise ValueError('DeferredReweightingHook found no mmcausal.DeferredReweightingLoss to defer')

    def before_train_epoch(self, runner: Any) -> None:
        for loss in self.losses:
            loss.is_active = runner.epoch >= self.begin
