"""Losses that know how often each class is in the training data.

Each takes logits (N, C) and labels (N,), and goes where MMPretrain's heads take a ``loss``. Each gets the class counts
from :class:`mmcausal.hooks.ClassPriorHook`, none from its config.
"""
from typing import Any, Optional, Sequence, Tuple

from torch import Tensor, nn
from torch.nn import functional as F

from mmcausal import class_prior
from mmcausal.hosts import require_host
from mmcausal.registry import MODELS

require_host('mmpretrain')

from mmpretrain.models.losses.utils import weight_reduce_loss  # noqa: E402


class ClassPriorLoss(nn.Module):
    """What these losses share: a constant for each class, made from the class counts.

    Args:
        reduction, loss_weight: As in the losses of MMPretrain.

    Raises:
        ValueError: A class without a training image, or another number of classes than the logits have; labels that
            are not one class for each image, as those of Mixup.
        RuntimeError: Without class counts.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.) -> None:
        super().__init__()
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.constants: Optional[Tensor] = None

    def set_class_counts(self, class_counts: Sequence[int]) -> None:
        """Note the training images of each of the C classes."""
        self.constants = self.constants_of(class_prior.check_class_counts(class_counts)).float()

    def constants_of(self, counts: Tensor) -> Tensor:
        """The constants (C,) of class counts (C,)."""
        raise NotImplementedError

    def losses(self, logits: Tensor, labels: Tensor, constants: Tensor) -> Tensor:
        """The loss (N,) of each image."""
        raise NotImplementedError

    def forward(self,
                cls_score: Tensor,
                label: Tensor,
                weight: Optional[Tensor] = None,
                avg_factor: Optional[float] = None,
                reduction_override: Optional[str] = None) -> Tensor:
        """Loss of logits (N, C) and labels (N,)."""
        losses = self.losses(cls_score, label, self.constants_for(cls_score, label))
        weight = weight.float() if weight is not None else None
        return self.loss_weight * weight_reduce_loss(losses, weight, reduction_override or self.reduction, avg_factor)

    def constants_for(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The constants (C,), beside the logits, where they fit these and the labels."""
        name = type(self).__name__
        if self.constants is None:
            raise RuntimeError(f'{name} does not know the number of training images of the classes: add '
                               "custom_hooks=[dict(type='mmcausal.ClassPriorHook')]")
        if labels.dim() != 1:
            raise ValueError(f'{name} needs one label for each image, got labels of shape {tuple(labels.shape)}')
        if logits.shape[-1] != len(self.constants):
            raise ValueError(f'{name} has counts of {len(self.constants)} classes and logits of {logits.shape[-1]}')
        self.constants = self.constants.to(logits.device)
        return self.constants


@MODELS.register_module(name=['LogitAdjustedLoss', 'BalancedSoftmaxLoss'])
class LogitAdjustedLoss(ClassPriorLoss):
    r"""Cross-entropy of :math:`z_i + \tau \log \pi_i`, with the class prior :math:`\pi`.

    Logit adjustment (Menon et al., ICLR 2021, arXiv 2007.07314, Eq. 10). With ``tau = 1``, the default, it is balanced
    softmax (Ren et al., NeurIPS 2020, arXiv 2007.10740), and so registered under that name too.

    Args:
        tau: Strength, not negative; 0 is plain cross-entropy.
        **kwargs: See :class:`ClassPriorLoss`.
    """

    def __init__(self, tau: float = 1., **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tau = class_prior.check_range('tau', tau, 0, float('inf'))

    def constants_of(self, counts: Tensor) -> Tensor:
        return self.tau * class_prior.log_prior(counts)

    def losses(self, logits: Tensor, labels: Tensor, constants: Tensor) -> Tensor:
        return F.cross_entropy(logits + constants, labels, reduction='none')


@MODELS.register_module()
class LDAMLoss(ClassPriorLoss):
    r"""Label-distribution-aware margins: the true class's logit is lowered by ``scale`` times the margin of the class.

    (Cao et al., NeurIPS 2019, arXiv 1906.07413; margins in :func:`mmcausal.class_prior.ldam_margins`.) The logits are
    those of a cosine classifier, which must have the same scale: its inverse temperature.

    Args:
        max_margin: Margin of the rarest class, as a cosine; 0 is plain cross-entropy.
        scale: The classifier's ``tau``.
        **kwargs: See :class:`ClassPriorLoss`.
    """

    def __init__(self, max_margin: float = 0.5, scale: float = 30., **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_margin = class_prior.check_range('max_margin', max_margin, 0, 2)
        self.scale = class_prior.check_range('scale', scale, 0, float('inf'))

    def constants_of(self, counts: Tensor) -> Tensor:
        return self.scale * class_prior.ldam_margins(counts, self.max_margin)

    def losses(self, logits: Tensor, labels: Tensor, constants: Tensor) -> Tensor:
        return F.cross_entropy(logits - F.one_hot(labels, logits.shape[-1]) * constants, labels, reduction='none')


@MODELS.register_module()
class LabelAwareSmoothingLoss(ClassPriorLoss):
    r"""Label smoothing that is stronger for frequent classes (Zhong et al., CVPR 2021, arXiv 2104.00466).

    The target of an image of class y is :math:`1 - \epsilon_y` for y and :math:`\epsilon_y / (C - 1)` for each other
    class, with :func:`mmcausal.class_prior.label_aware_smoothing`.

    Args:
        head: Smoothing of the most frequent class.
        tail: Smoothing of the rarest class.
        **kwargs: See :class:`ClassPriorLoss`.
    """

    def __init__(self, head: float = 0.4, tail: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        class_prior.label_aware_smoothing([1], head, tail)  # refuses wrong smoothings
        self.head = head
        self.tail = tail

    def constants_of(self, counts: Tensor) -> Tensor:
        return class_prior.label_aware_smoothing(counts, self.head, self.tail)

    def losses(self, logits: Tensor, labels: Tensor, constants: Tensor) -> Tensor:
        log_probs = logits.log_softmax(-1)
        own = log_probs.gather(1, labels[:, None]).squeeze(1)
        smoothing = constants[labels]
        others = (log_probs.sum(-1) - own) / max(logits.shape[-1] - 1, 1)
        return -(1 - smoothing) * own - smoothing * others


@MODELS.register_module()
class ClassBalancedLoss(ClassPriorLoss):
    """Any loss with its images weighted by class (Cui et al., CVPR 2019, arXiv 1901.05555).

    The weights are those of :func:`mmcausal.class_prior.effective_number_weights`, of mean 1 over classes, and the sum
    is divided by the number of images. As most images are of frequent classes, the loss is smaller than the plain one:
    a fifth on CIFAR-100-LT.

    Args:
        loss: Config of the loss, e.g. ``dict(type='CrossEntropyLoss')`` or ``dict(type='FocalLoss')`` of MMPretrain.
        beta: In [0, 1); 0 weighs all images equally.
    """

    def __init__(self, loss: dict, beta: float = 0.9999) -> None:
        super().__init__()
        self.beta = class_prior.check_range('beta', beta, 0, 1, without_high=True)
        self.loss = MODELS.build(loss)

    def constants_of(self, counts: Tensor) -> Tensor:
        return class_prior.effective_number_weights(counts, self.beta)

    def forward(self,
                cls_score: Tensor,
                label: Tensor,
                weight: Optional[Tensor] = None,
                avg_factor: Optional[Any] = None,
                reduction_override: Optional[str] = None) -> Tensor:
        """Loss of logits (N, C) and labels (N,); ``weight`` (N,) multiplies that of the class."""
        class_weight = self.constants_for(cls_score, label)[label]
        weight, avg_factor = self.weigh(class_weight, weight, avg_factor)
        return self.loss(cls_score, label, weight=weight, avg_factor=avg_factor, reduction_override=reduction_override)

    def weigh(self, class_weight: Tensor, weight: Optional[Tensor],
              avg_factor: Optional[Any]) -> Tuple[Optional[Tensor], Optional[Any]]:
        """Weight (N,) of each image, from that of its class (N,), and what their sum is divided by."""
        return class_weight if weight is None else weight * class_weight, avg_factor


@MODELS.register_module()
class DeferredReweightingLoss(ClassBalancedLoss):
    """The weights of :class:`ClassBalancedLoss`, begun later: DRW (Cao et al., NeurIPS 2019, arXiv 1906.07413).

    The sum is divided by that of the weights, as in the source, so the loss keeps its scale when they begin.

    Attributes:
        is_active: Whether images are weighted: from the start, unless :class:`mmcausal.hooks.DeferredReweightingHook`
            says from when on.
    """

    is_active = True

    def weigh(self, class_weight: Tensor, weight: Optional[Tensor],
              avg_factor: Optional[Any]) -> Tuple[Optional[Tensor], Optional[Any]]:
        """As in :class:`ClassBalancedLoss`; ``avg_factor`` is for the loss without weights."""
        if not self.is_active:
            return weight, avg_factor
        weights: Any = super().weigh(class_weight, weight, avg_factor)[0]
        return weights, weights.sum()
