"""Focal loss on a softmax."""
import torch
from torch import Tensor
from torch.nn import functional as F

from mmcausal.checks import check_flag, check_number
from mmcausal.models.losses.base import SampleLoss, check_labels


class SoftmaxFocalLoss(SampleLoss):
    r"""Focal loss (Lin et al., ICCV 2017, arXiv 1708.02002) on the softmax over all classes: the paper's baseline.

    .. math:: -(1 - p_y)^{\gamma} \log p_y

    The ``FocalLoss`` of MMPretrain and MMDetection is on sigmoids, but MMDetection's box heads infer by a softmax. In a
    detector, the logits are (N, C + 1) with the background last.

    Args:
        gamma: Focusing parameter, not negative; 0 is cross-entropy.
        reduction, loss_weight: As in :class:`SampleLoss`.
        detach_modulator: Whether the factor :math:`(1 - p_y)^{\gamma}` is a constant for the gradient, as in the
            code of the paper's authors for ImageNet-LT.

    Raises:
        ValueError: Arguments out of range; labels that are not one class per image.
    """

    def __init__(self,
                 gamma: float = 2.,
                 reduction: str = 'mean',
                 loss_weight: float = 1.,
                 detach_modulator: bool = False) -> None:
        super().__init__(reduction, loss_weight)
        self.gamma = check_number('gamma', gamma, '[0, inf)')
        self.detach_modulator = check_flag('detach_modulator', detach_modulator)

    def sample_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_labels(self, labels)
        cross_entropy = F.cross_entropy(logits, labels, reduction='none')
        # 0 to a power below 1 has an infinite slope, and a sample that is certain has no loss to multiply it with
        rest = (-torch.expm1(-cross_entropy)).clamp(min=torch.finfo(cross_entropy.dtype).tiny)  # 1 - p_y
        modulator = rest**self.gamma
        return (modulator.detach() if self.detach_modulator else modulator) * cross_entropy
