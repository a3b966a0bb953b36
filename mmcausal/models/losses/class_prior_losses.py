"""Losses with a class prior: they need the training images of each class.

:class:`mmcausal.hooks.ClassPriorHook` calls ``set_class_counts``; in a loop of your own, call it before training.
"""
from typing import Optional, Tuple, Union

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcausal import class_prior
from mmcausal.checks import check_config, check_number
from mmcausal.class_prior import Counts, TakesClassCounts
from mmcausal.models.losses.base import AvgFactor, SampleLoss, check_labels


class ClassPriorLoss(SampleLoss):
    """Base of the losses with one constant per class, derived from the class counts.

    Args:
        reduction, loss_weight: As in :class:`SampleLoss`.

    Attributes:
        constants: Buffer (C,), empty until :meth:`set_class_counts`.

    Raises:
        ValueError: A class without a training image, or another number of classes than the logits have; labels that
            are not one class per image, such as Mixup's.
        RuntimeError: In the forward pass, without class counts.
    """
    constants: Tensor

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.) -> None:
        super().__init__(reduction, loss_weight)
        self.register_buffer('constants', torch.zeros(0), persistent=False)  # a buffer moves with the model

    def set_class_counts(self, class_counts: Counts) -> None:
        """Set the training images of each of the C classes."""
        constants = self.constants_of(class_prior.check_class_counts(class_counts))
        self.constants = constants.float().to(self.constants.device)

    def constants_of(self, counts: Tensor) -> Tensor:
        """Return the constants (C,) for class counts (C,)."""
        raise NotImplementedError

    def constants_for(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the constants (C,) if they fit the logits (N, C) and labels (N,)."""
        if not len(self.constants):
            raise class_prior.missing_class_counts(self)
        check_labels(self, labels)
        if logits.shape[-1] != len(self.constants):
            raise ValueError(f'{type(self).__name__} has counts of {len(self.constants)} classes, but got logits of '
                             f'{logits.shape[-1]}')
        return self.constants


class LogitAdjustedLoss(ClassPriorLoss):
    r"""Cross-entropy of :math:`z_i + \tau \log \pi_i`, with the class prior :math:`\pi`.

    Logit adjustment (Menon et al., ICLR 2021, arXiv 2007.07314, Eq. 10). The default ``tau = 1`` is balanced softmax
    (Ren et al., NeurIPS 2020, arXiv 2007.10740), so configs can also name it ``mmcausal.BalancedSoftmaxLoss``.

    Args:
        tau: Strength, not negative; 0 is plain cross-entropy.
        reduction, loss_weight: As in :class:`SampleLoss`.

    Example:
        >>> loss = LogitAdjustedLoss()
        >>> loss.set_class_counts([90, 9, 1])
        >>> loss(torch.zeros(2, 3), torch.tensor([0, 2]))
        tensor(2.3553)
    """

    def __init__(self, tau: float = 1., reduction: str = 'mean', loss_weight: float = 1.) -> None:
        super().__init__(reduction, loss_weight)
        self.tau = check_number('tau', tau, '[0, inf)')

    def constants_of(self, counts: Tensor) -> Tensor:
        return self.tau * class_prior.log_prior(counts)

    def sample_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits + self.constants_for(logits, labels), labels, reduction='none')


class LDAMLoss(ClassPriorLoss):
    r"""Label-distribution-aware margins: lower the true class's logit by ``scale`` times the margin of the class.

    (Cao et al., NeurIPS 2019, arXiv 1906.07413; margins in :func:`mmcausal.class_prior.ldam_margins`.) Use it with a
    cosine classifier of the same scale, its inverse temperature ``tau``, one head and ``init_length=1.``, as there.

    Args:
        max_margin: Margin of the rarest class, as a cosine; 0 is plain cross-entropy.
        scale: The classifier's ``tau``.
        reduction, loss_weight: As in :class:`SampleLoss`.
    """

    def __init__(self,
                 max_margin: float = 0.5,
                 scale: float = 30.,
                 reduction: str = 'mean',
                 loss_weight: float = 1.) -> None:
        super().__init__(reduction, loss_weight)
        self.max_margin = check_number('max_margin', max_margin, '[0, 2]')
        self.scale = check_number('scale', scale, '[0, inf)')

    def constants_of(self, counts: Tensor) -> Tensor:
        return self.scale * class_prior.ldam_margins(counts, self.max_margin)

    def sample_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        margins = self.constants_for(logits, labels)  # checks the labels, before one_hot
        return F.cross_entropy(logits - margins * F.one_hot(labels, logits.shape[-1]), labels, reduction='none')


class LabelAwareSmoothingLoss(ClassPriorLoss):
    r"""Label smoothing that is stronger for frequent classes (Zhong et al., CVPR 2021, arXiv 2104.00466).

    The target for an image of class y is :math:`1 - \epsilon_y` for y, plus :math:`\epsilon_y / C` for every class,
    with :func:`mmcausal.class_prior.label_aware_smoothing`. (The paper divides among the other C - 1 classes, but its
    code among all.)

    Args:
        head: Smoothing of the most frequent class.
        tail: Smoothing of the rarest class.
        reduction, loss_weight: As in :class:`SampleLoss`.
    """

    def __init__(self,
                 head: float = 0.4,
                 tail: float = 0.1,
                 reduction: str = 'mean',
                 loss_weight: float = 1.) -> None:
        super().__init__(reduction, loss_weight)
        class_prior.label_aware_smoothing([1], head, tail)  # refuses wrong smoothings
        self.head = head
        self.tail = tail

    def constants_of(self, counts: Tensor) -> Tensor:
        return class_prior.label_aware_smoothing(counts, self.head, self.tail)

    def sample_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.constants_for(logits, labels)[labels]
        log_probs = logits.log_softmax(-1)
        own = log_probs.gather(1, labels[:, None]).squeeze(1)
        return -(1 - smoothing) * own - smoothing * log_probs.mean(-1)


def build_loss(loss: Union[dict, nn.Module]) -> nn.Module:
    """Return the loss itself, or the one that a config of MMEngine describes.

    Raises:
        ValueError: Neither a module nor a config.
    """
    check_config('loss', loss, nn.Module)
    if isinstance(loss, nn.Module):
        return loss
    from mmcausal.registry import MODELS  # only a config needs MMEngine
    return MODELS.build(loss)


class ClassBalancedLoss(ClassPriorLoss):
    """Any loss, with its images weighted by class (Cui et al., CVPR 2019, arXiv 1901.05555).

    The weights are :func:`mmcausal.class_prior.effective_number_weights`, with mean 1 over classes, and the sum is
    divided by the number of images. As most images are of frequent classes, the loss is smaller than the plain one: a
    fifth on CIFAR-100-LT with ``beta=0.9999``.

    Args:
        loss: A loss with the signature of :class:`SampleLoss`, e.g. ``SoftmaxFocalLoss()``, or the config of one, e.g.
            ``dict(type='CrossEntropyLoss')``.
        beta: In [0, 1); 0 weighs all images equally.
    """

    def __init__(self, loss: Union[dict, nn.Module], beta: float = 0.9999) -> None:
        super().__init__()
        self.beta = check_number('beta', beta, '[0, 1)')
        self.loss = build_loss(loss)

    def set_class_counts(self, class_counts: Counts) -> None:
        """Set the training images of each of the C classes, in the loss inside too."""
        super().set_class_counts(class_counts)
        if isinstance(self.loss, TakesClassCounts):
            self.loss.set_class_counts(class_counts)

    def constants_of(self, counts: Tensor) -> Tensor:
        return class_prior.effective_number_weights(counts, self.beta)

    def forward(self,
                cls_score: Tensor,
                label: Tensor,
                weight: Optional[Tensor] = None,
                avg_factor: AvgFactor = None,
                reduction_override: Optional[str] = None) -> Tensor:
        """Return the loss of logits (N, C) and labels (N,); ``weight`` (N,) multiplies the weight of the class."""
        class_weight = self.constants_for(cls_score, label)[label]
        weight, avg_factor = self.weigh(class_weight, weight, avg_factor)
        return self.loss(cls_score, label, weight=weight, avg_factor=avg_factor, reduction_override=reduction_override)

    def weigh(self, class_weight: Tensor, weight: Optional[Tensor],
              avg_factor: AvgFactor) -> Tuple[Optional[Tensor], AvgFactor]:
        """Return the weight of each image (N,), from its class's weight (N,), and the divisor of their sum."""
        return self.image_weights(class_weight, weight), avg_factor

    def image_weights(self, class_weight: Tensor, weight: Optional[Tensor]) -> Tensor:
        """Return the product (N,) of class weights (N,) and given weights (N,)."""
        return class_weight if weight is None else weight * class_weight


class DeferredReweightingLoss(ClassBalancedLoss):
    """Same as :class:`ClassBalancedLoss`, except that re-weighting starts later: DRW (Cao et al., NeurIPS 2019).

    The sum is divided by the sum of the weights, as in the source, so the loss keeps its scale when they start.

    Attributes:
        is_active: Whether images are weighted. ``True`` from the start, unless
            :class:`mmcausal.hooks.DeferredReweightingHook` schedules it.
    """
    is_active = True

    def __init__(self, loss: Union[dict, nn.Module], beta: float = 0.9999) -> None:
        super().__init__(loss, beta)
        if getattr(self.loss, 'reduction', 'mean') == 'sum':
            raise ValueError("DeferredReweightingLoss needs a loss with reduction='mean', because it divides by the "
                             f"sum of the weights, but got reduction='sum' of {type(self.loss).__name__}")

    def weigh(self, class_weight: Tensor, weight: Optional[Tensor],
              avg_factor: AvgFactor) -> Tuple[Optional[Tensor], AvgFactor]:
        """Same as the base's, except that ``avg_factor`` applies to the loss without weights only."""
        if not self.is_active:
            return weight, avg_factor
        weights = self.image_weights(class_weight, weight)
        return weights, weights.sum()
