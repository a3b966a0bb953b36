"""Softmax equalization loss: rare classes are spared the gradient of other classes' samples."""
from typing import Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcausal.hosts import require_host
from mmcausal.registry import MODELS

require_host('mmdet')

from mmdet.models.losses.utils import weight_reduce_loss  # noqa: E402


@MODELS.register_module()
class EqualizationLoss(nn.Module):
    r"""Softmax equalization loss (Tan et al., CVPR 2020, arXiv 2003.05176), on C + 1 logits.

    Cross-entropy in whose softmax a foreground proposal of another class does not see the classes of the tail:

    .. math:: -\log \frac{e^{z_y}}{\sum_k w_k e^{z_k}}, \qquad w_k = 1 - \beta E(r) T_k (1 - y_k)

    with :math:`T_k` = 1 for classes of the tail, :math:`E(r)` = 1 for foreground proposals, and :math:`\beta` = 1 with
    probability ``ignore_prob``. The background, the last class, is never in the tail.
    :class:`mmcausal.hooks.ClassPriorHook` says before training which classes are.

    Args:
        tail_below: A class with fewer training images is in the tail. The paper's threshold 1.76e-3 of the 57 k
            training images of LVIS v0.5 is 100: about the rare and common classes.
        ignore_prob: Probability of :math:`\beta` = 1, drawn for each proposal.
        reduction, loss_weight: As in the losses of MMDetection.

    Raises:
        ValueError: At construction, for arguments out of range; in the forward pass, for counts of another number of
            classes than the logits have.
        RuntimeError: Without image counts.
    """

    def __init__(self,
                 tail_below: int = 100,
                 ignore_prob: float = 1.,
                 reduction: str = 'mean',
                 loss_weight: float = 1.) -> None:
        super().__init__()
        if not tail_below >= 0:
            raise ValueError(f'tail_below must be a number of images >= 0, got {tail_below!r}')
        if not 0 <= ignore_prob <= 1:
            raise ValueError(f'ignore_prob must be in [0, 1], got {ignore_prob!r}')
        self.tail_below = tail_below
        self.ignore_prob = ignore_prob
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.is_tail: Optional[Tensor] = None

    def set_class_counts(self, class_counts: Sequence[int]) -> None:
        """Note which classes are in the tail, from the number of training images of each of the C classes."""
        self.is_tail = torch.tensor([count < self.tail_below for count in class_counts] + [False])

    def forward(self,
                cls_score: Tensor,
                label: Tensor,
                weight: Optional[Tensor] = None,
                avg_factor: Optional[float] = None,
                reduction_override: Optional[str] = None) -> Tensor:
        """Loss of logits (N, C + 1) and labels (N,), where C is the background."""
        ignored = self._ignored(cls_score, label)
        loss = F.cross_entropy(cls_score.masked_fill(ignored, -torch.inf), label, reduction='none')
        weight = weight.float() if weight is not None else None
        return self.loss_weight * weight_reduce_loss(loss, weight, reduction_override or self.reduction, avg_factor)

    def _ignored(self, cls_score: Tensor, label: Tensor) -> Tensor:
        """Which logits (N, C + 1) are left out of the softmax."""
        if self.is_tail is None:
            raise RuntimeError('EqualizationLoss does not know the number of training images of the classes: add '
                               "custom_hooks=[dict(type='mmcausal.ClassPriorHook')]")
        background = cls_score.shape[1] - 1
        if len(self.is_tail) != background + 1:
            raise ValueError(f'EqualizationLoss has image counts of {len(self.is_tail) - 1} classes and logits of '
                             f'{background}')
        self.is_tail = self.is_tail.to(label.device)
        excused = (label != background) & (torch.rand(label.shape, device=label.device) < self.ignore_prob)
        own = F.one_hot(label, background + 1).bool()
        return excused[:, None] & self.is_tail & ~own
