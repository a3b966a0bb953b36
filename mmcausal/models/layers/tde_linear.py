"""Linear classifier with a moving average of its input, and Total Direct Effect (TDE) inference by it."""
import warnings
from typing import Callable, Optional, Tuple, Union

import torch
from torch import Tensor

from mmcausal import functional
from mmcausal.checkpoints import check_finite
from mmcausal.checks import is_number
from mmcausal.models.layers.checked_linear import Device
from mmcausal.models.layers.folded_linear import FoldedCache, FoldedLinear
from mmcausal.models.layers.logits import count_meaningless
from mmcausal.models.layers.normalized_product import deconfounded_logits
from mmcausal.models.layers.observed_linear import ObservedLinear
from mmcausal.models.layers.tracing import is_traced, is_transformed, nan_unless

Alpha = Union[float, str]
# More than any gradient accumulation: a direction without an update for so long will not get one.
BATCHES_WITHOUT_UPDATE = 1000


def check_alpha(alpha: object) -> Alpha:
    """Return ``alpha`` if it is ``'auto'`` or a finite number >= 0, else raise ``ValueError``."""
    if isinstance(alpha, str) and alpha == 'auto':
        return alpha
    if not is_number(alpha) or alpha < 0:  # type: ignore[operator]
        raise ValueError(f"alpha must be a non-negative number or 'auto', but got {alpha!r}")
    return float(alpha)  # type: ignore[arg-type]


class TDELinear(ObservedLinear):
    r"""Linear classifier with Total Direct Effect inference.

    ``softmax(layer(x))`` is always the class distribution: of the total effect (Eq. 7) in training and with
    ``alpha = 0``, of the Total Direct Effect (Eq. 8) in evaluation with ``alpha > 0``.

    In training mode, each forward pass adds its input to a sum on the device. After each optimiser step,
    :meth:`update_direction` folds this sum into the moving average; in MMEngine,
    :class:`mmcausal.hooks.HeadDirectionHook` calls it.

    This base has one head (K = 1) and no normaliser. Subclasses override :meth:`effective_weight`, :meth:`offset` or
    :attr:`hyperparameters`.

    Args:
        in_features: D.
        out_features: C.
        bias: Whether to add a bias to the logits. The paper's classifiers have none.
        alpha: Trade-off of Eq. 8 in evaluation. ``'auto'`` is the authors' rule without data: alpha times the mean
            cosine between features and head direction equals 1.
        device, dtype: As in ``nn.Linear``.

    Attributes:
        mean_feature, mean_cosine, num_updates, num_skipped: Buffers, see :class:`ObservedLinear`.
        num_heads, normalizer: K, and the name of the normaliser N(x, w).

    Raises:
        ValueError: At construction, for arguments out of range; for input that is not (N, D); for a checkpoint with
            values that are not finite; in evaluation, after a checkpoint of other classes.
        RuntimeError: In evaluation with ``alpha != 0``, if no direction was trained or loaded.

    Warns:
        UserWarning: Once, if TDE is requested but nothing updates the direction, or batches were left out of it; once
            in each evaluation, if logits are not finite, or equal for all classes in a whole batch.
    """
    normalizer: str = 'linear'
    without_samples = 'no batch had finite features alone'  # why updates may come, but the direction stays zero

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 bias: bool = False,
                 alpha: Alpha = 0.,
                 device: Device = None,
                 dtype: Optional[torch.dtype] = None) -> None:
        super().__init__(in_features, out_features, bias=bias, device=device, dtype=dtype)
        self.alpha = check_alpha(alpha)
        self._batches = 0
        self._folded = FoldedCache()
        self._has_warned_of_logits = False

    def init_weights(self) -> None:
        """Initialise with U(-1/sqrt(D), 1/sqrt(D)) like the authors, whatever a host head does to its layers."""
        self.reset_parameters()

    @property
    def hyperparameters(self) -> functional.Hyperparameters:
        """K, tau, gamma and normaliser, as :mod:`mmcausal.functional` takes them."""
        return functional.Hyperparameters(self.num_heads, normalizer=self.normalizer)

    def effective_weight(self) -> Tensor:
        """Return the weight w (C, D) of the equations: the parameter itself, or a function of it in a subclass."""
        return self.weight

    def offset(self) -> Optional[Tensor]:
        """Return the constant (C,) that is added to the logits of every feature, or ``None``."""
        return self.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, C) of features x (N, D)."""
        self.check_features(x)
        if self.training:
            self.misfits, self._has_warned_of_logits = (), False
            self._observe_input(x)
            if not is_traced():  # a compiler would record the counters of one batch
                self._warn_without_update()
            return self.total_effect(x)
        self.check_loaded()
        if self._can_be_folded():
            logits = self._folded.of(self)(x)
        else:
            logits = self.total_effect(x) if self.alpha == 0 else self.total_direct_effect(x)
        self._warn_of_meaningless(logits)
        return logits

    def _can_be_folded(self) -> bool:
        """Return whether folded weights would do: without gradients of weights, and with a state that we know."""
        needs_gradient = torch.is_grad_enabled() and any(each.requires_grad for each in self.parameters())
        is_own = type(self).__module__.partition('.')[0] == __name__.partition('.')[0]
        return is_own and not (needs_gradient or is_traced() or is_transformed())

    def fold(self) -> FoldedLinear:
        """Return the evaluation of this layer, in its state of now, as one product of normalised features."""
        return FoldedLinear(self)

    def train(self, mode: bool = True) -> 'TDELinear':
        """Same as PyTorch's, except that training frees the folded weights of evaluation."""
        if mode:
            self._folded.clear()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: bool, **kwargs: bool) -> 'TDELinear':
        self._folded.clear()  # it is on the device of before
        super()._apply(fn, *args, **kwargs)
        return self

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._folded = FoldedCache()  # layers that an earlier version pickled have none

    def _observe_input(self, x: Tensor) -> None:
        self.observe(x)

    def _warn_without_update(self) -> None:
        """Warn once if TDE is requested but nothing updates the head direction, or no sample does."""
        self._batches += 1
        self._batches_since_update += 1
        is_due = self._batches == BATCHES_WITHOUT_UPDATE and self.alpha != 0 and self.is_scheduled
        if is_due and not self.num_updates:  # asked once, because the host waits for the device to answer
            warnings.warn(f'TDE (alpha={self.alpha!r}) needs the head direction of the training features, but in '
                          f'{BATCHES_WITHOUT_UPDATE} batches {self.without_samples}', stacklevel=3)
        if self._batches_since_update == BATCHES_WITHOUT_UPDATE and self.alpha != 0:
            warnings.warn(
                f'TDE (alpha={self.alpha!r}) needs the head direction of the training features, but nothing updated it '
                f'for {BATCHES_WITHOUT_UPDATE} batches; add custom_hooks=[dict(type="mmcausal.HeadDirectionHook")], or '
                'call update_direction(momentum) after each optimizer step in a loop of your own',
                stacklevel=3)

    def _warn_of_skipped(self) -> None:
        if not self.has_told_of_skipped and self.num_skipped:
            self.has_told_of_skipped = True
            warnings.warn(self.skipped_batches(), stacklevel=4)

    def _warn_of_meaningless(self, logits: Tensor) -> None:
        number = 0 if self._has_warned_of_logits else count_meaningless(logits)
        if number:
            self._has_warned_of_logits = True
            warnings.warn(f'{number} of the {len(logits)} samples of a batch have logits that are not finite, or equal '
                          'for all classes, so their predictions mean nothing: look at the features and at the weights '
                          f'of this {type(self).__name__}', stacklevel=3)

    def total_effect(self, x: Tensor) -> Tensor:
        """Return the logits (N, C) of Eq. 7."""
        return self._plus_offset(deconfounded_logits(x, self.effective_weight(), *self.hyperparameters))

    def total_direct_effect(self, x: Tensor) -> Tensor:
        """Return the logits (N, C) of Eq. 8."""
        return self.less_head_effect(*self.effects(x))

    def less_head_effect(self, total_effect: Tensor, head_effect: Tensor) -> Tensor:
        """Return the Total Direct Effect (N, C), from total effect and head effect."""
        return total_effect - (self._alpha_in_graph() if is_traced() else self.resolved_alpha()) * head_effect

    def head_effect(self, x: Tensor) -> Tensor:
        """Return the second term of Eq. 8 (N, C), without alpha."""
        return functional.head_effect(x, self.effective_weight(), self.mean_feature, *self.hyperparameters)

    def effects(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        """Return total effect and head effect, both (N, C), for little more than the cost of the first."""
        total, head = functional.effects(x, self.effective_weight(), self.mean_feature, *self.hyperparameters)
        return self._plus_offset(total), head

    def _plus_offset(self, logits: Tensor) -> Tensor:
        offset = self.offset()
        return logits if offset is None else logits + offset

    def resolved_alpha(self) -> float:
        """Return ``alpha`` as a number, 0 without a look at the head direction.

        Raises:
            ValueError: ``alpha`` out of range, or a head direction or mean cosine that is not finite.
            RuntimeError: No head direction to subtract, or ``'auto'`` with a mean cosine that is not positive.
        """
        alpha = check_alpha(self.alpha)
        if alpha == 0:
            return 0.
        if not self.mean_feature.any():
            raise RuntimeError(f'TDE (alpha={alpha!r}) needs the head direction of the training features, but '
                               f'{self._why_no_direction()}. alpha=0 gives the total effect')
        check_finite(dict(mean_feature=self.mean_feature, mean_cosine=self.mean_cosine))
        self._warn_of_skipped()
        if not isinstance(alpha, str):
            return alpha
        mean_cosine = float(self.mean_cosine)
        if not mean_cosine > 0:
            raise RuntimeError("alpha='auto' needs a positive mean cosine between features and head direction, but got "
                               f'{mean_cosine}; set alpha to a number')
        return 1 / mean_cosine

    def _alpha_in_graph(self) -> Tensor:
        """Return ``alpha`` for a compiler or exporter, which cannot raise on values: nan where eager code raises."""
        if torch.jit.is_tracing():  # knows the values, and may raise
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', torch.jit.TracerWarning)
                self.resolved_alpha()
        alpha = check_alpha(self.alpha)
        value = torch.full_like(self.mean_cosine, alpha) if isinstance(alpha, float) else 1 / self.mean_cosine
        # any() of ONNX is whether a number is positive
        is_usable = (self.mean_feature != 0).any() & self.mean_feature.isfinite().all() & (value > 0) & value.isfinite()
        return nan_unless(is_usable, value)

    def _why_no_direction(self) -> str:
        if self.is_scheduled:
            return self.without_samples
        return ('the mean_feature of this classifier is zero. Train with '
                'custom_hooks=[dict(type="mmcausal.HeadDirectionHook")], or call update_direction(momentum) after each '
                'optimizer step in a loop of your own; for a trained checkpoint, estimate it with '
                f'tools/analysis/estimate_direction.py. If the hook was there, {self.without_samples}')

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, alpha={self.alpha!r}'
