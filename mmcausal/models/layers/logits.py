"""Logits that mean nothing: their number, for a warning."""
import torch
from torch import Tensor

EQUAL = 1e-12  # no softmax in half or single precision tells such logits apart


def count_meaningless(logits: Tensor) -> int:
    """Return how many rows of logits (N, C) are not finite; N, if the logits of each row are equal for all classes.

    It costs one pass over the logits, and the host waits for the device. Within ``torch.jit.trace``, ``torch.compile``
    and ``torch.export`` the result is 0.
    """
    if _is_traced() or not logits.numel():
        return 0
    differ = (logits[:, 0] - logits[:, -1]).abs().amax() > EQUAL
    if logits.sum().isfinite() & differ:
        return 0
    is_equal = (logits.amax(-1) - logits.amin(-1) <= EQUAL) & (logits.shape[-1] > 1)
    return int((~logits.isfinite().all(-1) | is_equal.all()).sum())


def _is_traced() -> bool:
    is_compiling = getattr(getattr(torch, 'compiler', None), 'is_compiling', bool)  # not in older releases
    return bool(torch.jit.is_tracing() or is_compiling())
