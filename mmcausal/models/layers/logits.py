"""Logits that mean nothing: their number, for a warning."""
import torch
from torch import Tensor


def count_meaningless(logits: Tensor) -> int:
    """Return how many rows of logits (N, C) are not finite; N, if the logits of each row are equal for all classes.

    The host waits for the device. Within ``torch.jit.trace``, ``torch.compile`` and ``torch.export`` the result is 0.
    """
    if _is_traced() or not logits.numel():
        return 0
    is_equal = (logits.amax(1) == logits.amin(1)) & (logits.shape[1] > 1)
    return int((~logits.isfinite().all(1) | is_equal.all()).sum())


def _is_traced() -> bool:
    is_compiling = getattr(getattr(torch, 'compiler', None), 'is_compiling', bool)  # not in older releases
    return bool(torch.jit.is_tracing() or is_compiling())
