"""Logits that mean nothing: their number, for a warning."""
from torch import Tensor

from mmcausal.models.layers.tracing import is_traced, is_transformed

EQUAL = 1e-12  # no softmax in half or single precision tells such logits apart


def count_meaningless(logits: Tensor) -> int:
    """Return how many rows of logits (N, C) are not finite; N, if the logits of each row are equal for all classes.

    It costs one pass over the logits, and the host waits for the device. Within ``torch.jit.trace``, ``torch.compile``,
    ``torch.export`` and the transforms of ``torch.func``, the result is 0.
    """
    if is_traced() or is_transformed() or not logits.numel():
        return 0
    first = logits[0]
    if logits.sum().isfinite() & (first.amax() - first.amin() > EQUAL):
        return 0
    is_equal = (logits.amax(-1) - logits.amin(-1) <= EQUAL) & (logits.shape[-1] > 1)
    return int((~logits.isfinite().all(-1) | is_equal.all()).sum())

