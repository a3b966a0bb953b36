"""Memory format of the convolutions."""
from typing import Any

import torch
from mmengine.hooks import Hook
from torch.nn.parallel import DistributedDataParallel

from mmcausal.hooks.utils import unwrap
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the model's convolution weights in ``torch.channels_last``, for training, validation and test.

    Convolutions choose that format for their output when either operand has it, so the images need no conversion.
    Results agree up to rounding; how much faster it is depends on the machine and the release of PyTorch.

    A CPU needs at least 16 channels in each layer: with 8, the backward pass of PyTorch 2.1.2 was seen to end with
    'double free or corruption' on an AVX-512 processor, outside this package as well.
    """

    def before_run(self, runner: Any) -> None:
        model = unwrap(runner.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if isinstance(runner.model, DistributedDataParallel):
            # It took the weights' strides when it was built, and would scramble gradients of others.
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
