"""Classifiers on the features of an ordinary training (Kang et al., ICLR 2020, arXiv 1910.09217).

Each is a linear classifier with another weight, so each takes TDE as the linear classifier does: with one head (K = 1).
"""
from typing import Any

import torch
from torch import Tensor, nn

from mmcausal.class_prior import check_class_counts, check_range, log_prior
from mmcausal.models.deconfound_linear import DeconfoundLinear
from mmcausal.registry import MODELS


def check_exponent(exponent: float) -> float:
    """Return the exponent of :class:`TauNormLinear` where it is in [0, 1], else raise ``ValueError``."""
    return check_range('exponent', exponent, 0, 1)


@MODELS.register_module()
class TauNormLinear(DeconfoundLinear):
    r"""Tau-normalised classifier: in evaluation, the class weights are :math:`w_i / \|w_i\|^{\tau}`.

    It has no bias, as its source. Training is that of the linear classifier.

    Args:
        in_features, out_features: D and C.
        exponent: The source's tau, in [0, 1]: 0 leaves the weights, 1 gives all of them unit length.
        **kwargs: ``alpha`` of :class:`DeconfoundLinear`, and its ``device`` and ``dtype``.

    Raises:
        ValueError: An exponent outside [0, 1].
    """

    def __init__(self, in_features: int, out_features: int, exponent: float = 1., **kwargs: Any) -> None:
        super().__init__(in_features, out_features, num_heads=1, normalizer='linear', **kwargs)
        self.exponent = check_exponent(exponent)

    def class_weight(self) -> Tensor:
        if self.training:
            return self.weight
        return self.weight / self.weight.norm(dim=1, keepdim=True).clamp(min=1e-12)**self.exponent


@MODELS.register_module()
class LWSLinear(DeconfoundLinear):
    """Learnable weight scaling: the class weights of stage one, each times a learned factor.

    Args:
        in_features, out_features: D and C.
        **kwargs: ``alpha`` of :class:`DeconfoundLinear`, and its ``device`` and ``dtype``.

    Attributes:
        scale: Parameter (C,), 1 at first; the only one that is trained.

    Raises:
        RuntimeError: In training, where no checkpoint gave the weights to scale.
    """

    def __init__(self, in_features: int, out_features: int, **kwargs: Any) -> None:
        super().__init__(in_features, out_features, num_heads=1, normalizer='linear', **kwargs)
        self.weight.requires_grad_(False)
        self.scale = nn.Parameter(self.weight.new_ones(out_features))
        self.is_loaded = False

    def class_weight(self) -> Tensor:
        if self.training and not self.is_loaded:
            raise RuntimeError('LWSLinear scales the class weights of a trained classifier, and no checkpoint gave it '
                               'any: set load_from to the checkpoint of stage one, whose classifier is linear')
        return self.scale[:, None] * self.weight

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.is_loaded |= getattr(state_dict.get(f'{prefix}weight'), 'shape', None) == self.weight.shape


@MODELS.register_module()
class NCMLinear(DeconfoundLinear):
    """Nearest class mean by the cosine: the class weights are the mean training features of the classes.

    :class:`mmcausal.loops.ClassMeansLoop` finds the means in one pass over the training images.

    Args:
        in_features, out_features: D and C.
        **kwargs: ``tau`` and ``alpha`` of :class:`DeconfoundLinear`, and its ``device`` and ``dtype``.

    Raises:
        RuntimeError: In evaluation, without class means.
    """
    sums: Tensor
    counts: Tensor
    has_means: Tensor

    def __init__(self, in_features: int, out_features: int, **kwargs: Any) -> None:
        super().__init__(in_features, out_features, num_heads=1, normalizer='cosine', **kwargs)
        self.register_buffer('sums', torch.zeros_like(self.weight), persistent=False)
        self.register_buffer('counts', self.weight.new_zeros(out_features), persistent=False)
        self.register_buffer('has_means', torch.zeros((), dtype=torch.bool, device=self.weight.device))

    @torch.no_grad()
    def add_samples(self, x: Tensor, labels: Tensor) -> None:
        """Add features x (N, D) of ``labels`` (N,) to the sums of their classes."""
        self.sums.index_add_(0, labels, x.to(self.sums.dtype))
        self.counts += labels.bincount(minlength=self.out_features)

    @torch.no_grad()
    def set_means(self) -> None:
        """Make the means of the samples added the class weights.

        Raises:
            ValueError: A class without a sample.
        """
        check_class_counts(self.counts.cpu(), self.out_features)
        self.weight.copy_(self.sums / self.counts[:, None])
        self.has_means.fill_(True)

    def class_weight(self) -> Tensor:
        if not self.has_means:
            raise RuntimeError('NCMLinear has no class means: train it with train_cfg=dict('
                               "type='mmcausal.ClassMeansLoop'), or load a checkpoint that has them")
        return self.weight


@MODELS.register_module()
class LogitAdjustedLinear(DeconfoundLinear):
    r"""Post-hoc logit adjustment (Menon et al., ICLR 2021, arXiv 2007.07314, Eq. 9).

    Training is that of a linear classifier; in evaluation the logits are :math:`z_i - \tau \log \pi_i` with the class
    prior :math:`\pi` of the *training* data.

    Args:
        in_features, out_features: D and C.
        bias: As in ``nn.Linear``.
        tau: Strength, not negative; 0 is the linear classifier, 1 is right for a balanced test set.
        **kwargs: ``alpha`` of :class:`DeconfoundLinear`, and its ``device`` and ``dtype``.

    Attributes:
        log_prior: Buffer (C,), see :func:`mmcausal.class_prior.log_prior`, saved with the weights;
            :class:`mmcausal.hooks.ClassPriorHook` fills it.

    Raises:
        ValueError: A negative tau, or class counts that do not fit.
        RuntimeError: In evaluation, without class counts.
    """
    log_prior: Tensor

    def __init__(self, in_features: int, out_features: int, bias: bool = True, tau: float = 1., **kwargs: Any) -> None:
        super().__init__(in_features, out_features, bias=bias, num_heads=1, normalizer='linear', **kwargs)
        self.strength = check_range('tau', tau, 0, float('inf'))
        self.register_buffer('log_prior', self.weight.new_zeros(out_features))

    @property
    def lacks_class_counts(self) -> bool:
        """Whether neither training nor a checkpoint gave class counts."""
        return not self.log_prior.any()

    def set_class_counts(self, class_counts: Any) -> None:
        """Note the training samples of each of the C classes."""
        self.log_prior.copy_(log_prior(check_class_counts(class_counts, self.out_features)))

    def plus_bias(self, logits: Tensor) -> Tensor:
        """Logits (N, C) with the bias, and in evaluation without the log prior."""
        logits = super().plus_bias(logits)
        if self.training or self.strength == 0:
            return logits
        if self.lacks_class_counts:
            raise RuntimeError('LogitAdjustedLinear does not know the number of training images of the classes: add '
                               "custom_hooks=[dict(type='mmcausal.ClassPriorHook')]")
        return logits - self.strength * self.log_prior
