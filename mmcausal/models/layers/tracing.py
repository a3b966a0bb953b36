"""Networks that are being recorded by a compiler or an exporter."""
import math

import torch
from torch import Tensor
from torch.autograd import forward_ad


def is_traced() -> bool:
    """Return whether this runs within ``torch.jit.trace``, ``torch.compile`` or ``torch.export``.

    There, values are unknown and Python runs once: neither checks of values nor counters in Python have a meaning.
    """
    is_compiling = getattr(getattr(torch, 'compiler', None), 'is_compiling', bool)  # not in older releases
    return bool(torch.jit.is_tracing() or is_compiling())


def is_transformed() -> bool:
    """Return whether this runs within a transform of ``torch.func``, or forward-mode differentiation."""
    return bool(torch._C._functorch.peek_interpreter_stack() or forward_ad._current_level >= 0)


def nan_unless(condition: Tensor, value: Tensor) -> Tensor:
    """Return ``value`` if ``condition`` () holds, else nan: how a graph refuses, which cannot raise on values."""
    return value.masked_fill(~condition, math.nan)
