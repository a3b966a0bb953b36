"""Resumed trainings that are bit-equal to trainings that were never stopped."""
from functools import partial
from typing import Dict, Optional

import numpy as np
import torch
from mmengine.dataset import worker_init_fn
from mmengine.dist import all_reduce, broadcast_object_list, get_rank
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmcausal.hooks.strategies import refuse_shared_gradients
from mmcausal.hooks.utils import unwrap
from mmcausal.models.layers import TDELinear
from mmcausal.registry import HOOKS

KEY = 'accumulated'  # of the checkpoint


def seed_of(seed: int, epoch: int, rank: int) -> int:
    """Return a seed of 31 bits; neighbouring arguments give unrelated seeds."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0]) >> 1


def seed_workers(dataloader: DataLoader, seed: int) -> None:
    """Seed the workers of the next epoch by ``seed`` and their number, unless the config has its own function."""
    init = dataloader.worker_init_fn
    if isinstance(init, partial) and init.func is worker_init_fn:
        dataloader.worker_init_fn = partial(init, seed=seed)
    # Persistent workers would keep their generators. PyTorch has no public way to start them again.
    dataloader._iterator = None


def accumulated(model: nn.Module) -> Dict[str, Tensor]:
    """Return the means over ranks of the sums since the last optimiser step: gradients, and features of ``TDELinear``.

    Sums of zero are left out: an optimiser treats a parameter without a gradient in another way.
    """
    sums = {name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            for name, parameter in model.named_parameters() if parameter.requires_grad}
    sums.update((f'{name}.observed', module.observed.clone()) for name, module in model.named_modules()
                if isinstance(module, TDELinear))
    for tensor in sums.values():  # all ranks have the same names, whichever parameters their batches used
        all_reduce(tensor, op='mean')
    return {name: tensor.cpu() for name, tensor in sums.items() if tensor.any()}


def restore(model: nn.Module, sums: Dict[str, Tensor]) -> None:
    """Give a model the sums of :func:`accumulated`."""
    for name, parameter in model.named_parameters():
        if name in sums:
            parameter.grad = sums[name].to(parameter)
    for name, module in model.named_modules():
        if isinstance(module, TDELinear) and f'{name}.observed' in sums:
            module.observed.copy_(sums[f'{name}.observed'])


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make a training that was stopped and resumed bit-equal to one that ran through.

    MMEngine resumes weights, optimiser and schedules. This hook resumes the rest:

    - Random augmentation, Mixup, dropout and sampling of proposals. At the start of each epoch, the generators of
      Python, NumPy and PyTorch are seeded by seed, epoch and rank, and by worker. Persistent workers start again.
    - The order of the images in a training without a seed. The seed drawn at the start is used again.
    - Gradients and features accumulated across the end of an epoch, if ``accumulative_counts`` does not divide it. They
      are averaged over the ranks, so several ranks agree up to rounding.

    It needs a checkpoint from the end of an epoch, on the same machine with the same number of ranks and workers.

    Raises:
        ValueError: Before training, another loop than ``EpochBasedTrainLoop``, several optimisers, sharded weights, or
            DeepSpeed.

    Example:
        In a config: ``custom_hooks = [dict(type='mmcausal.ExactResumeHook')]``
    """

    def __init__(self) -> None:
        self.seed = 0
        self._drawn_seed: Optional[int] = None
        self._accumulated: Dict[str, Tensor] = {}

    def before_run(self, runner: Runner) -> None:
        self._drawn_seed = runner.seed  # before the checkpoint is loaded

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._accumulated = checkpoint.get(KEY, {})

    def before_train(self, runner: Runner) -> None:
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError('ExactResumeHook needs an EpochBasedTrainLoop, but got '
                             f'{type(runner.train_loop).__name__}')
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            raise ValueError('ExactResumeHook needs one optimiser, but got an OptimWrapperDict of '
                             f'{list(runner.optim_wrapper.keys())}')
        refuse_shared_gradients('ExactResumeHook', runner)
        seeds = [runner.seed]
        broadcast_object_list(seeds)  # diff_rank_seed gives each rank its own
        self.seed = int(seeds[0])
        if runner.iter:
            self._resume(runner)

    def _resume(self, runner: Runner) -> None:
        sampler = getattr(runner.train_dataloader.batch_sampler, 'sampler', None)
        if sampler is not None and getattr(sampler, 'seed', None) == self._drawn_seed != runner.seed:
            sampler.seed = runner.seed  # built before the checkpoint was read
        if self._accumulated:
            restore(unwrap(runner.model), self._accumulated)
            runner.logger.info('Restored the gradients accumulated before the checkpoint')

    def before_train_epoch(self, runner: Runner) -> None:
        self._accumulated = {}
        seed = seed_of(self.seed, runner.epoch, get_rank())
        set_random_seed(seed)
        seed_workers(runner.train_dataloader, seed)

    def after_train_epoch(self, runner: Runner) -> None:
        if not runner.optim_wrapper.should_update():
            self._accumulated = accumulated(unwrap(runner.model))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self._accumulated:
            checkpoint[KEY] = self._accumulated
