"""The classifier layer: it owns the weight and the moving average of its input, and nothing of when that moves."""
import warnings
from typing import Any, Tuple, Union

import torch
from torch import Tensor, nn

from mmcausal import functional
from mmcausal.registry import MODELS

Alpha = Union[float, str]
# More than any gradient accumulation: a direction that has not moved for so long is not going to.
UNMOVED_BATCHES = 1000


def _accumulating(dtype: torch.dtype) -> torch.dtype:
    """The type in which averages of ``dtype`` are kept: half precision stops counting at 2048 or 256."""
    return dtype if dtype in (torch.long, torch.bool) else torch.promote_types(dtype, torch.float32)


def check_alpha(alpha: Alpha) -> Alpha:
    """Return ``alpha`` where it is ``'auto'`` or a finite number >= 0, else raise ``ValueError``."""
    if alpha == 'auto':
        return alpha
    if isinstance(alpha, str) or not functional.is_number(alpha) or alpha < 0:
        raise ValueError(f"alpha must be a non-negative number or 'auto', got {alpha!r}")
    return float(alpha)


@MODELS.register_module()
class DeconfoundLinear(nn.Linear):
    r"""Multi-head de-confounded classifier with Total Direct Effect inference.

    ``softmax(layer(x))`` is always the class distribution: in training, and with ``alpha = 0``, of the total effect
    (Eq. 7); in evaluation with ``alpha > 0``, of the Total Direct Effect (Eq. 8).

    In training mode each forward adds its input to a sum on the device; :meth:`update_direction`, called by
    :class:`mmcausal.hooks.HeadDirectionHook`, folds the sum into the moving average.

    Args:
        in_features: D.
        out_features: C.
        bias: Whether a bias is added to the logits. The paper's classifiers have none; it is there for stock
            classifiers that are tested with TDE afterwards.
        num_heads, tau, gamma, normalizer: See :func:`mmcausal.functional.deconfounded_logits`.
        alpha: Trade-off of Eq. 8 in evaluation. ``'auto'`` is the authors' rule without data, alpha times the mean
            cosine of features and head direction = 1.

    Attributes:
        mean_feature: Buffer (D,), moving average of the input. Zero until trained.
        mean_cosine: Buffer (), moving average of cos(x^k, d^k) over samples and heads.
        num_updates: Buffer (), number of updates behind the two.

    Raises:
        ValueError: At construction, for arguments out of range.
        RuntimeError: In evaluation with ``alpha != 0``, where no direction was trained or loaded.
    """
    mean_feature: Tensor
    mean_cosine: Tensor
    num_updates: Tensor
    observed: Tensor

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 bias: bool = False,
                 num_heads: int = 2,
                 tau: float = 16.,
                 gamma: float = 1 / 32,
                 normalizer: str = 'deconfound',
                 alpha: Alpha = 0.,
                 **kwargs: Any) -> None:
        functional.check_hyperparameters(in_features, num_heads, tau, gamma, normalizer)
        super().__init__(in_features, out_features, bias=bias, **kwargs)
        self.num_heads = num_heads
        self.tau = tau
        self.gamma = gamma
        self.normalizer = normalizer
        self.alpha = check_alpha(alpha)
        zeros = self.weight.new_zeros(2 * in_features + 1, dtype=_accumulating(self.weight.dtype))
        self.register_buffer('mean_feature', zeros[:in_features].clone())
        self.register_buffer('mean_cosine', zeros.sum())
        self.register_buffer('num_updates', torch.zeros((), dtype=torch.long, device=self.weight.device))
        self._batches_since_update = 0
        # Sums over the samples since the last update: of x (D), of x with unit heads (D), of ones (1). One tensor, so
        # that ranks merge with one all-reduce.
        self.register_buffer('observed', zeros, persistent=False)

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> 'DeconfoundLinear':
        """Same as PyTorch's, except that ``half()`` and the like leave the averages in float32."""
        before = dict(self._buffers)
        super()._apply(fn, *args, **kwargs)
        for name, buffer in self._buffers.items():
            if buffer.dtype != _accumulating(buffer.dtype):
                self._buffers[name] = before[name].to(buffer.device)
        return self

    def init_weights(self) -> None:
        """U(-1/sqrt(D), 1/sqrt(D)), the authors' initialisation, whatever a host head does to its linear layers."""
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C) of features x (N, D)."""
        if self.training:
            self.observe(x)
            self._expect_update()
        return self.total_effect(x) if self.training or self.alpha == 0 else self.total_direct_effect(x)

    def _expect_update(self) -> None:
        """Warn, once, where TDE is wanted and nobody moves the direction: else the first evaluation tells it."""
        self._batches_since_update += 1
        if self._batches_since_update == UNMOVED_BATCHES and self.alpha != 0:
            warnings.warn(
                f'TDE (alpha={self.alpha!r}) will need the head direction of the training features, and nothing has '
                f'moved it for {UNMOVED_BATCHES} batches; train with '
                'custom_hooks=[dict(type="mmcausal.HeadDirectionHook")]',
                stacklevel=3)

    def total_effect(self, x: Tensor) -> Tensor:
        """Logits (N, C) of Eq. 7."""
        return self.plus_bias(functional.deconfounded_logits(x, self.class_weight(), **self._hyperparameters()))

    def total_direct_effect(self, x: Tensor) -> Tensor:
        """Logits (N, C) of Eq. 8."""
        return self.plus_bias(
            functional.total_direct_effect(x, self.class_weight(), self.mean_feature, self.resolved_alpha(),
                                           **self._hyperparameters()))

    def head_effect(self, x: Tensor) -> Tensor:
        """Logits (N, C) of the second term of Eq. 8, without alpha."""
        return functional.head_effect(x, self.class_weight(), self.mean_feature, **self._hyperparameters())

    def effects(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        """Logits (N, C) of the total effect and of the head effect, at little more than the cost of the first."""
        total, head = functional.effects(x, self.class_weight(), self.mean_feature, **self._hyperparameters())
        return self.plus_bias(total), head

    def class_weight(self) -> Tensor:
        """Weight w (C, D) of the equations: the parameter itself, or what a subclass makes of it."""
        return self.weight

    def plus_bias(self, logits: Tensor) -> Tensor:
        """Logits (N, C) and what is added to them whatever the feature."""
        return logits if self.bias is None else logits + self.bias

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Add features x (N, D) to the sums of the next update, unless one of them is not finite."""
        self._add_to_sums(x, self.observed.new_full((1, ), x.shape[0]))

    def _add_to_sums(self, x: Tensor, count: Tensor) -> None:
        x, count = x.detach().to(self.observed.dtype), count.to(self.observed.dtype)
        sums = torch.cat([x.sum(0), functional.unit_heads(x, self.num_heads).sum(0), count])
        # Chosen on the device: the host need not wait to know whether they are finite.
        self.observed += torch.where(sums.isfinite().all(), sums, torch.zeros_like(sums))

    @torch.no_grad()
    def update_direction(self, momentum: float) -> None:
        """Move the averages by one step towards the samples observed since the last one, and forget those.

        Nothing moves where no finite sample was seen. No value leaves the device.

        Args:
            momentum: Weight of the old value, in [0, 1).
        """
        sum_x, sum_unit, count = self.observed.split([self.in_features, self.in_features, 1])
        usable = (count > 0).squeeze() & self.observed.isfinite().all()
        mean_feature = functional.update_moving_average(self.mean_feature, sum_x / count, momentum)
        direction = functional.head_direction(mean_feature, self.num_heads)
        cosine = (sum_unit / count * direction).sum() / self.num_heads
        # The first cosine stands for itself: averaged with the initial zero it would stay too small for long.
        mean_cosine = torch.where(self.num_updates > 0,
                                  functional.update_moving_average(self.mean_cosine, cosine, momentum), cosine)
        self.mean_feature.copy_(torch.where(usable, mean_feature, self.mean_feature))
        self.mean_cosine.copy_(torch.where(usable, mean_cosine, self.mean_cosine))
        self.num_updates += usable
        self.observed.zero_()
        self._batches_since_update = 0

    def resolved_alpha(self) -> float:
        """``alpha`` as a number, or ``RuntimeError`` where this layer has no direction to subtract."""
        if not self.mean_feature.any():
            raise RuntimeError(
                f'TDE (alpha={self.alpha!r}) needs the head direction of the training features, and this classifier '
                'has none: its mean_feature is zero. Train with custom_hooks=[dict(type="mmcausal.HeadDirectionHook")]'
                ', or estimate it for a trained checkpoint with tools/analysis/estimate_direction.py; '
                'alpha=0 gives the total effect')
        if self.alpha != 'auto':
            return float(self.alpha)
        mean_cosine = float(self.mean_cosine)
        if not mean_cosine > 0:
            raise RuntimeError(f"alpha='auto' needs a positive mean cosine of features and head direction, and this "
                               f'classifier has {mean_cosine}; give alpha as a number')
        return 1 / mean_cosine

    def _hyperparameters(self) -> dict:
        return dict(num_heads=self.num_heads, tau=self.tau, gamma=self.gamma, normalizer=self.normalizer)

    def extra_repr(self) -> str:
        return (f'{super().extra_repr()}, num_heads={self.num_heads}, tau={self.tau}, gamma={self.gamma}, '
                f'normalizer={self.normalizer!r}, alpha={self.alpha!r}')
