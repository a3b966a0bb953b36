"""Mixed precision on a CPU."""
from contextlib import contextmanager
from typing import Iterator

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmcausal.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Same as ``OptimWrapper``, except that training runs its forward passes under PyTorch's bfloat16 autocast.

    MMEngine's ``AmpOptimWrapper`` needs an accelerator. Weights, gradients and batch statistics stay in float32. Losses
    are not scaled, because bfloat16 has the range of float32. This is faster only on processors with bfloat16
    instructions (``avx512_bf16`` or ``amx_bf16`` in ``lscpu``).
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield
