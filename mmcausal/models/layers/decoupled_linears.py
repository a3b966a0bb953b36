"""Classifier layers on the features of an ordinary training (Kang et al., ICLR 2020, arXiv 1910.09217).

Each is a linear or cosine classifier with another weight or offset, so TDE applies with one head (K = 1).
"""
from typing import Optional

import torch
from torch import Tensor, nn

from mmcausal.checks import check_number
from mmcausal.class_prior import check_class_counts
from mmcausal.functional import Hyperparameters, in_full_precision
from mmcausal.models.layers.checked_linear import Device
from mmcausal.models.layers.observed_linear import sum_over_ranks
from mmcausal.models.layers.tde_linear import Alpha, TDELinear
from mmcausal.models.layers.tracing import is_traced, nan_unless


def check_exponent(exponent: object) -> float:
    """Return the exponent of :class:`TauNormLinear` if it is in [0, 1], else raise ``ValueError``."""
    return check_number('exponent', exponent, '[0, 1]')


class TauNormLinear(TDELinear):
    r"""Tau-normalised classifier: in evaluation, the class weights are :math:`w_i / \|w_i\|^{\tau}`.

    Has no bias, as in its source, and trains like a linear classifier.

    Args:
        in_features, out_features: D and C.
        exponent: The source's tau, in [0, 1]: 0 keeps the weights, 1 gives all of them unit length.
        alpha, device, dtype: As in :class:`TDELinear`.

    Raises:
        ValueError: An exponent outside [0, 1].
    """
    ignored = ('bias', )

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 exponent: float = 1.,
                 alpha: Alpha = 0.,
                 device: Device = None,
                 dtype: Optional[torch.dtype] = None) -> None:
        super().__init__(in_features, out_features, alpha=alpha, device=device, dtype=dtype)
        self.exponent = check_exponent(exponent)

    def effective_weight(self) -> Tensor:
        if self.training:
            return self.weight
        return self.weight / self.weight.norm(dim=1, keepdim=True).clamp(min=1e-12)**self.exponent

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, exponent={self.exponent}'


class LWSLinear(TDELinear):
    """Learnable weight scaling: the class weights and biases of stage one, each times a learned factor.

    Args:
        in_features, out_features: D and C.
        bias: As in ``nn.Linear``, but 0 at the start, so a classifier of stage one without a bias is scaled as it is.
        alpha, device, dtype: As in :class:`TDELinear`.

    Attributes:
        scale: Parameter (C,), initially 1; the only one that is trained.

    Raises:
        RuntimeError: In training, if no checkpoint provided the weights to scale.
    """

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 bias: bool = True,
                 alpha: Alpha = 0.,
                 device: Device = None,
                 dtype: Optional[torch.dtype] = None) -> None:
        super().__init__(in_features, out_features, bias, alpha, device, dtype)
        self.requires_grad_(False)
        self.scale = nn.Parameter(self.weight.new_ones(out_features))
        self.is_loaded = False

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def effective_weight(self) -> Tensor:
        if self.training and not self.is_loaded:
            raise RuntimeError('LWSLinear scales the class weights of a trained classifier, but no checkpoint provided '
                               'any: set load_from to the checkpoint of stage one, a linear classifier')
        return self.scale[:, None] * self.weight

    def offset(self) -> Optional[Tensor]:
        return None if self.bias is None else self.scale * self.bias

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.is_loaded |= getattr(state_dict.get(f'{prefix}weight'), 'shape', None) == self.weight.shape


class NCMLinear(TDELinear):
    """Nearest class mean by the cosine: the class weights are the mean training features of the classes.

    :class:`mmcausal.loops.ClassMeansLoop` computes the means in one pass over the training images.

    Args:
        in_features, out_features: D and C.
        tau: Inverse temperature of the cosines, positive.
        alpha, device, dtype: As in :class:`TDELinear`.

    Raises:
        ValueError: ``tau`` out of range.
        RuntimeError: In evaluation, without class means.
    """
    normalizer = 'cosine'
    ignored = ('bias', )
    sums: Tensor
    counts: Tensor
    has_means: Tensor

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 tau: float = 16.,
                 alpha: Alpha = 0.,
                 device: Device = None,
                 dtype: Optional[torch.dtype] = None) -> None:
        super().__init__(in_features, out_features, alpha=alpha, device=device, dtype=dtype)
        self.tau = check_number('tau', tau, '(0, inf)')
        sums = in_full_precision(torch.zeros_like(self.weight))  # half precision cannot count to 5000
        self.register_buffer('sums', sums, persistent=False)
        self.register_buffer('counts', sums.new_zeros(out_features), persistent=False)
        self.register_buffer('has_means', torch.zeros((), dtype=torch.bool, device=self.weight.device))
        self.knows_means = False  # what has_means says, without waiting for the device

    @property
    def hyperparameters(self) -> Hyperparameters:
        """K, tau and normaliser, as :mod:`mmcausal.functional` takes them."""
        return Hyperparameters(self.num_heads, self.tau, normalizer=self.normalizer)

    @torch.no_grad()
    def add_samples(self, x: Tensor, labels: Tensor) -> None:
        """Add features x (N, D) with ``labels`` (N,) to the sums of their classes."""
        self.sums.index_add_(0, labels, x.to(self.sums.dtype))
        self.counts.index_add_(0, labels, torch.ones_like(labels, dtype=self.counts.dtype))

    @torch.no_grad()
    def set_means(self) -> None:
        """Set the class weights to the means of all samples added, over all ranks.

        Raises:
            ValueError: A class without a sample, or with a feature that is not finite.
        """
        for total in (self.sums, self.counts):
            sum_over_ranks(total)
        check_class_counts(self.counts, self.out_features)
        spoilt = (~self.sums.isfinite().all(1)).nonzero().flatten().tolist()
        if spoilt:
            raise ValueError(f'class means must be finite, but {len(spoilt)} of {self.out_features} classes have '
                             f'features that are nan or infinite, e.g. class {spoilt[0]}')
        self.weight.copy_(self.sums / self.counts[:, None])
        for total in (self.sums, self.counts):  # another pass starts from nothing
            total.zero_()
        self.has_means.fill_(True)
        self.misfits = ()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.knows_means = False

    def effective_weight(self) -> Tensor:
        if is_traced():
            return nan_unless(self.has_means, self.weight)
        self.knows_means = self.knows_means or bool(self.has_means)
        if not self.knows_means:
            raise RuntimeError('NCMLinear has no class means: train it with train_cfg=dict('
                               "type='mmcausal.ClassMeansLoop'), or load a checkpoint that has them")
        return self.weight

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, tau={self.tau}'


class EuclideanNCMLinear(NCMLinear):
    r"""Nearest class mean by the Euclidean distance: the logits are :math:`-\tau \|x - m_i\|^2 + \tau \|x\|^2`.

    The last term is the same for all classes. Without it the logits would not be linear in x.

    Args:
        in_features, out_features: D and C.
        tau: Inverse temperature of the squared distances, positive.
        alpha, device, dtype: As in :class:`TDELinear`.

    Raises:
        ValueError, RuntimeError: As in :class:`NCMLinear`.
    """
    normalizer = 'linear'

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 tau: float = 16.,
                 alpha: Alpha = 0.,
                 device: Device = None,
                 dtype: Optional[torch.dtype] = None) -> None:
        super().__init__(in_features, out_features, tau, alpha, device, dtype)

    def effective_weight(self) -> Tensor:
        # squared lengths of features are out of the range of float16
        return 2 * self.tau * in_full_precision(super().effective_weight())

    def offset(self) -> Tensor:
        return -self.tau * in_full_precision(self.weight).pow(2).sum(1)
