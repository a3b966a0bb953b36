"""Softmax equalization loss: rare classes are spared the gradient of other classes' samples."""
import torch
from torch import Tensor
from torch.nn import functional as F

from mmcausal.checks import check_number
from mmcausal.class_prior import Counts, check_class_counts, missing_class_counts
from mmcausal.models.losses.base import SampleLoss


class EqualizationLoss(SampleLoss):
    r"""Softmax equalization loss (Tan et al., CVPR 2020, arXiv 2003.05176), on C + 1 logits.

    Cross-entropy, but the softmax for a foreground proposal leaves out the tail classes other than its own:

    .. math:: -\log \frac{e^{z_y}}{\sum_k w_k e^{z_k}}, \qquad w_k = 1 - \beta E(r) T_k (1 - y_k)

    with :math:`T_k` = 1 for tail classes, :math:`E(r)` = 1 for foreground proposals, and :math:`\beta` = 1 with
    probability ``ignore_prob``. The background, the last class, is never in the tail.
    :class:`mmcausal.hooks.ClassPriorHook` provides the class counts before training.

    Args:
        tail_below: A class with fewer training images is in the tail. The source's threshold, a share of 1.77e-3 of the
            56.7 k training images of LVIS v0.5, is 100.4 images: exactly the rare and common classes.
        ignore_prob: Probability of :math:`\beta` = 1, drawn for each proposal.
        reduction, loss_weight: As in :class:`SampleLoss`.

    Attributes:
        is_tail: Boolean buffer (C + 1,), empty until :meth:`set_class_counts`.
        counts_repeats: Whether an image that an epoch repeats counts each time. It counts once: ``tail_below`` is a
            number of images, not of draws.

    Raises:
        ValueError: At construction, for arguments out of range; in the forward pass, for counts of another number of
            classes than the logits have.
        RuntimeError: In the forward pass, without class counts.
    """
    is_tail: Tensor
    counts_repeats = False

    def __init__(self,
                 tail_below: float = 101,
                 ignore_prob: float = 1.,
                 reduction: str = 'mean',
                 loss_weight: float = 1.) -> None:
        super().__init__(reduction, loss_weight)
        self.tail_below = check_number('tail_below', tail_below, '[0, inf)')
        self.ignore_prob = check_number('ignore_prob', ignore_prob, '[0, 1]')
        self.register_buffer('is_tail', torch.zeros(0, dtype=torch.bool), persistent=False)

    def set_class_counts(self, class_counts: Counts) -> None:
        """Set the training images of each of the C classes, which may be 0."""
        is_tail = check_class_counts(class_counts, fewest=0) < self.tail_below
        self.is_tail = F.pad(is_tail, (0, 1)).to(self.is_tail.device)

    def sample_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.masked_fill(self._ignored(logits, labels), -torch.inf), labels, reduction='none')

    def _ignored(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return which logits (N, C + 1) are left out of the softmax."""
        if not len(self.is_tail):
            raise missing_class_counts(self)
        background = logits.shape[1] - 1
        if len(self.is_tail) != background + 1:
            raise ValueError(f'EqualizationLoss has image counts of {len(self.is_tail) - 1} classes, but got logits of '
                             f'{background}')
        excused = (labels != background) & (torch.rand(labels.shape, device=labels.device) < self.ignore_prob)
        own = F.one_hot(labels, background + 1).bool()
        return excused[:, None] & self.is_tail & ~own
