"""Losses of the LVIS tables that MMDetection lacks, or whose activation its box heads are not told of."""
from typing import Any, Dict, Optional

from torch import Tensor, nn
from torch.nn import functional as F

from mmcausal.class_prior import check_range
from mmcausal.hosts import require_host
from mmcausal.registry import MODELS

require_host('mmdet')

from mmdet.models.losses import EQLV2Loss as HostEQLV2Loss  # noqa: E402
from mmdet.models.losses import accuracy  # noqa: E402
from mmdet.models.losses.utils import weight_reduce_loss  # noqa: E402


@MODELS.register_module()
class SoftmaxFocalLoss(nn.Module):
    r"""Focal loss (Lin et al., ICCV 2017, arXiv 1708.02002) on the softmax over C + 1 classes: the paper's baseline.

    .. math:: -(1 - p_y)^{\gamma} \log p_y

    MMDetection's ``FocalLoss`` takes sigmoids, and its box heads infer by a softmax.

    Args:
        gamma: Focusing parameter, not negative; 0 is cross-entropy.
        reduction, loss_weight: As in the losses of MMDetection.

    Raises:
        ValueError: A negative ``gamma``.
    """

    def __init__(self, gamma: float = 2., reduction: str = 'mean', loss_weight: float = 1.) -> None:
        super().__init__()
        self.gamma = check_range('gamma', gamma, 0, float('inf'))
        self.reduction = reduction
        self.loss_weight = loss_weight

    def forward(self,
                cls_score: Tensor,
                label: Tensor,
                weight: Optional[Tensor] = None,
                avg_factor: Optional[float] = None,
                reduction_override: Optional[str] = None) -> Tensor:
        """Loss of logits (N, C + 1) and labels (N,), where C is the background."""
        cross_entropy = F.cross_entropy(cls_score, label, reduction='none')
        losses = (1 - (-cross_entropy).exp())**self.gamma * cross_entropy
        weight = weight.float() if weight is not None else None
        return self.loss_weight * weight_reduce_loss(losses, weight, reduction_override or self.reduction, avg_factor)


@MODELS.register_module()
class EQLV2Loss(HostEQLV2Loss):
    """Same as MMDetection's ``EQLV2Loss`` (Tan et al., CVPR 2021), except that box heads learn of its sigmoids.

    The host's lacks the marks by which a box head asks a loss for its activation, so the head would infer by a softmax.
    On several ranks, set ``use_distributed=True``. Its background is no logit of a softmax, so there is no TDE for it.
    """
    custom_cls_channels = custom_activation = custom_accuracy = True

    def get_cls_channels(self, num_classes: int) -> int:
        """Logits for C classes: theirs and the background's."""
        return num_classes + 1

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> Dict[str, Any]:
        """Share of proposals in percent whose largest logit is that of their label."""
        return dict(acc_classes=accuracy(cls_score, labels))
