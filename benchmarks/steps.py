"""Whole training steps and test passes of a config on random images."""
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, List, Sequence

import torch
from alternating import seconds_of
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from torch import distributed, nn

from mmcausal.config_files import read_config
from mmcausal.hooks import CompileBackboneHook, HeadDirectionHook
from mmcausal.models.layers import TDELinear
from mmcausal.registry import MODELS

Step = Callable[[], None]


def random_images(number: int, size: Sequence[int], num_classes: int) -> dict:
    """Return a batch for a classifier: ``number`` images of height and width ``size`` with labels."""
    labels = torch.randint(num_classes, (number, ))
    return dict(inputs=torch.randint(256, (number, 3, *size), dtype=torch.uint8),
                data_samples=[DataSample().set_gt_label(int(label)) for label in labels])


def random_objects(number: int, size: Sequence[int], num_classes: int, objects: int = 10) -> dict:
    """Return a batch for a detector: ``number`` images of height and width ``size`` with boxes and masks."""
    from mmdet.testing import demo_mm_inputs
    batch = demo_mm_inputs(number, (3, *size), [objects] * number, num_classes, with_mask=True)
    for sample in batch['data_samples']:
        sample.set_metainfo(dict(scale_factor=(1., 1.)))
    return batch


class Workload:
    """The model of a config, with its optimiser and its head direction; with ranks, its replica on this one.

    Args:
        config: Path of the config.
        options: Changes to it.
        batch: Batch of the host, before its data preprocessor.
        is_compiled: Whether to compile the backbone.

    Attributes:
        hook_seconds: What the head direction took in each training step.
    """

    def __init__(self, config: Path, options: dict, batch: dict, is_compiled: bool = False) -> None:
        cfg = read_config(config, options)
        init_default_scope(cfg.default_scope)
        torch.manual_seed(0)
        if 'data_preprocessor' in cfg:
            cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        self.model = MODELS.build(cfg.model)
        MMLogger.get_current_instance().setLevel('WARNING')  # or each parameter would be a line of the output
        self.model.init_weights()
        self.model.to('cuda' if torch.cuda.is_available() else 'cpu', memory_format=torch.channels_last)
        self.batch = batch
        if distributed.is_initialized():
            self.model = MMDistributedDataParallel(self.model, broadcast_buffers=False)  # as the Runner
        optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        self.runner = SimpleNamespace(model=self.model, optim_wrapper=optim_wrapper)
        self.hooks = [HeadDirectionHook() for hook in cfg.get('custom_hooks', [])
                      if hook.type == 'mmcausal.HeadDirectionHook']
        self.hook_seconds: List[float] = []
        for hook in self.hooks:
            hook.before_train(self.runner)
        if is_compiled:
            CompileBackboneHook().before_run(self.runner)

    def train(self) -> None:
        """Run one training step."""
        self.model.train()
        torch.manual_seed(0)  # the same proposals in each
        self.model.train_step(self.batch, self.runner.optim_wrapper)
        self.hook_seconds.append(seconds_of(self._move_direction))

    def _move_direction(self) -> None:
        for hook in self.hooks:
            hook.after_train_iter(self.runner, 0)

    def test_with(self, alpha: float) -> Step:
        """Return a function that predicts by TDE with this alpha, where the model has it."""
        layers: List[nn.Module] = [module for module in self.model.modules() if isinstance(module, TDELinear)]

        @torch.no_grad()
        def test() -> None:
            for layer in layers:
                layer.alpha = alpha
            self.model.eval().test_step(self.batch)
        return test
