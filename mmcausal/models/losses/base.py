"""Base of the losses: weights, reduction and signature of the hosts, without a host."""
from typing import Optional, Union

import torch
from torch import Tensor, nn

from mmcausal.checks import check_choice, check_number

AvgFactor = Union[float, Tensor, None]
REDUCTIONS = ('none', 'mean', 'sum')
EPSILON = torch.finfo(torch.float32).eps


def reduce_losses(losses: Tensor, weight: Optional[Tensor], reduction: str, avg_factor: AvgFactor) -> Tensor:
    """Weight and reduce losses (N,) like MMPretrain and MMDetection.

    Args:
        losses: Loss of each sample (N,).
        weight: Factor of each sample (N,), or ``None``.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        avg_factor: Divisor of the sum for ``'mean'``, by default N.

    Raises:
        ValueError: ``avg_factor`` together with ``'sum'``, or another reduction; weights of another shape.
    """
    check_choice('reduction', reduction, REDUCTIONS)
    if weight is not None:
        if weight.shape != losses.shape:
            raise ValueError(f'weight must have one value for each of {len(losses)} samples, but got shape '
                             f'{tuple(weight.shape)}')
        losses = losses * weight.float()
    if reduction == 'none':
        return losses
    if avg_factor is None:
        return losses.mean() if reduction == 'mean' else losses.sum()
    if reduction == 'sum':
        raise ValueError(f"avg_factor divides the sum for reduction='mean', but got avg_factor={avg_factor} with 'sum'")
    return losses.sum() / (avg_factor + EPSILON)  # as MMDetection: batches without a sample have avg_factor 0


def check_labels(loss: nn.Module, labels: Tensor) -> None:
    """Raise ``ValueError`` unless labels are int64 (N,), one class per sample: Mixup's, for example, are (N, C)."""
    if labels.dim() != 1:
        raise ValueError(f'{type(loss).__name__} needs one label for each image, but got labels of shape '
                         f'{tuple(labels.shape)}')
    if labels.dtype != torch.int64:  # PyTorch would take uint8 for a mask
        raise ValueError(f'{type(loss).__name__} needs labels of type torch.int64, but got {labels.dtype}')


class SampleLoss(nn.Module):
    """Base of a loss on logits (N, C) and labels (N,): implement :meth:`sample_losses`, the rest is shared.

    It takes the place of a loss in MMPretrain's and MMDetection's heads, and works in any loop of PyTorch.

    Args:
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        loss_weight: Factor of the loss, not negative.

    Raises:
        ValueError: Arguments out of range.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.) -> None:
        super().__init__()
        self.reduction = check_choice('reduction', reduction, REDUCTIONS)
        self.loss_weight = check_number('loss_weight', loss_weight, '[0, inf)')

    def sample_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each sample (N,)."""
        raise NotImplementedError

    def forward(self,
                cls_score: Tensor,
                label: Tensor,
                weight: Optional[Tensor] = None,
                avg_factor: AvgFactor = None,
                reduction_override: Optional[str] = None) -> Tensor:
        """Return the loss of logits (N, C) and labels (N,); arguments as in :func:`reduce_losses`."""
        losses = self.sample_losses(cls_score, label)
        reduction = self.reduction if reduction_override is None else reduction_override
        return self.loss_weight * reduce_losses(losses, weight, reduction, avg_factor)
