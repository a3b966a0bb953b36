"""Post-hoc logit adjustment of linear and de-confounded classifiers (Menon et al., ICLR 2021, arXiv 2007.07314)."""
from typing import Optional

import torch
from torch import Tensor

from mmcausal.checks import check_number
from mmcausal.class_prior import Counts, check_class_counts, log_prior, missing_class_counts
from mmcausal.models.layers.checked_linear import Device
from mmcausal.models.layers.deconfound_linear import DeconfoundLinear
from mmcausal.models.layers.tde_linear import Alpha, TDELinear
from mmcausal.models.layers.tracing import is_traced, nan_unless


class LogitAdjustment(TDELinear):
    """Base of the layers with adjusted logits: the prior, and the offset by it in evaluation."""
    log_prior: Tensor

    def register_prior(self) -> None:
        """Make room for the prior; constructors call it."""
        self.register_buffer('log_prior', self.weight.new_zeros(self.out_features))

    @property
    def strength(self) -> float:
        """Factor of the log prior, under the name that the layer gives it."""
        raise NotImplementedError

    @property
    def lacks_class_counts(self) -> bool:
        """Whether neither training nor a checkpoint provided class counts, which a single class does not need."""
        return self.out_features > 1 and not self.log_prior.any()

    def set_class_counts(self, class_counts: Counts) -> None:
        """Set the training samples of each of the C classes."""
        self.log_prior.copy_(log_prior(check_class_counts(class_counts, self.out_features)))

    def offset(self) -> Optional[Tensor]:
        """Return the bias (C,), in evaluation less the strength times the log prior."""
        if self.training or self.strength == 0:
            return self.bias
        adjustment = self.strength * self.log_prior
        if is_traced() and self.out_features > 1:
            adjustment = nan_unless((self.log_prior != 0).any(), adjustment)
        elif self.lacks_class_counts:
            raise missing_class_counts(self)
        return -adjustment if self.bias is None else self.bias - adjustment


class LogitAdjustedLinear(LogitAdjustment):
    r"""Linear classifier with post-hoc logit adjustment (Menon et al., ICLR 2021, arXiv 2007.07314, Eq. 9).

    Trains like a linear classifier. In evaluation the logits are :math:`z_i - \tau \log \pi_i` with the class prior
    :math:`\pi` of the *training* data.

    Args:
        in_features, out_features: D and C.
        bias: As in ``nn.Linear``.
        tau: Strength, not negative; 0 is the linear classifier, 1 is right for a balanced test set.
        alpha, device, dtype: As in :class:`TDELinear`.

    Attributes:
        log_prior: Buffer (C,), see :func:`mmcausal.class_prior.log_prior`, saved with the weights;
            :class:`mmcausal.hooks.ClassPriorHook` fills it.

    Raises:
        ValueError: A negative tau, or class counts that do not fit.
        RuntimeError: In evaluation, without class counts.
    """

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 bias: bool = True,
                 tau: float = 1.,
                 alpha: Alpha = 0.,
                 device: Device = None,
                 dtype: Optional[torch.dtype] = None) -> None:
        super().__init__(in_features, out_features, bias, alpha, device, dtype)
        self.tau = check_number('tau', tau, '[0, inf)')
        self.register_prior()

    @property
    def strength(self) -> float:
        return self.tau

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, tau={self.tau}'


class LogitAdjustedDeconfoundLinear(LogitAdjustment, DeconfoundLinear):
    r"""De-confounded classifier with the logit adjustment of :class:`LogitAdjustedLinear`.

    Trains like a :class:`DeconfoundLinear`. In evaluation the logits are those of the total effect or, with alpha, of
    TDE, less ``adjustment`` times :math:`\log \pi`. A checkpoint of a :class:`DeconfoundLinear` lacks the prior alone.

    Args:
        in_features, out_features, bias, num_heads, tau, gamma, normalizer, alpha, device, dtype, init_length: As in
            :class:`DeconfoundLinear`; ``tau`` is the inverse temperature there.
        adjustment: Strength of the adjustment, the tau of Menon et al., not negative.

    Attributes:
        log_prior: Buffer (C,), see :func:`mmcausal.class_prior.log_prior`, saved with the weights;
            :class:`mmcausal.hooks.ClassPriorHook` fills it.

    Raises:
        ValueError: A negative adjustment, class counts that do not fit, or as :class:`DeconfoundLinear`.
        RuntimeError: In evaluation without class counts, or with ``alpha != 0`` without a direction.
    """

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 bias: bool = False,
                 num_heads: int = 2,
                 tau: float = 16.,
                 gamma: float = 1 / 32,
                 normalizer: str = 'deconfound',
                 alpha: Alpha = 0.,
                 device: Device = None,
                 dtype: Optional[torch.dtype] = None,
                 init_length: Optional[float] = None,
                 adjustment: float = 1.) -> None:
        super().__init__(in_features, out_features, bias, num_heads, tau, gamma, normalizer, alpha, device, dtype,
                         init_length)
        self.adjustment = check_number('adjustment', adjustment, '[0, inf)')
        self.register_prior()

    @property
    def strength(self) -> float:
        return self.adjustment

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, adjustment={self.adjustment}'
