"""Linear layer with a moving average of its input."""
from typing import Callable, Optional

import torch
from torch import Tensor, distributed

from mmcausal import functional
from mmcausal.models.layers.checked_linear import CheckedLinear, Device


def sum_over_ranks(tensor: Tensor) -> None:
    """Sum ``tensor`` over all processes of ``torch.distributed``, in place; do nothing without several processes."""
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        distributed.all_reduce(tensor)


def _accumulating(dtype: torch.dtype) -> torch.dtype:
    """Return the type for averages of ``dtype``: half precision stops counting at 2048 or 256."""
    return dtype if dtype in (torch.long, torch.bool) else torch.promote_types(dtype, torch.float32)


class ObservedLinear(CheckedLinear):
    """Same as :class:`CheckedLinear`, with a moving average of its input, the mean feature.

    :meth:`observe` adds features to a sum on the device. After each optimiser step, :meth:`update_direction` folds this
    sum into the moving average; in MMEngine, :class:`mmcausal.hooks.HeadDirectionHook` calls it.

    Args:
        in_features, out_features, bias, device, dtype: As in :class:`CheckedLinear`.

    Attributes:
        mean_feature: Buffer (D,), moving average of the input. Zero until trained.
        mean_cosine: Buffer (), moving average of cos(x^k, d^k) over samples and heads.
        num_updates: Buffer (), number of updates behind the two.
        num_skipped: Buffer (), number of batches left out since the start or :meth:`reset_direction`, because a feature
            was not finite. Not saved.
        num_heads: K.
    """
    mean_feature: Tensor
    mean_cosine: Tensor
    num_updates: Tensor
    num_skipped: Tensor
    observed: Tensor
    num_heads: int = 1
    is_scheduled: bool = False  # whether somebody updates the direction: HeadDirectionHook, or a loop
    has_told_of_skipped: bool = False  # whether somebody heard of the batches left out: in the hook's log, or a warning

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 bias: bool = True,
                 device: Device = None,
                 dtype: Optional[torch.dtype] = None) -> None:
        super().__init__(in_features, out_features, bias=bias, device=device, dtype=dtype)
        zeros = self.weight.new_zeros(2 * self.in_features + 2, dtype=_accumulating(self.weight.dtype))
        self.register_buffer('mean_feature', zeros[:self.in_features].clone())
        self.register_buffer('mean_cosine', zeros.sum())
        self.register_buffer('num_updates', torch.zeros((), dtype=torch.long, device=self.weight.device))
        self.register_buffer('num_skipped', torch.zeros_like(self.num_updates), persistent=False)
        # Since the last update: sums over the samples of x (D), of x with unit heads (D) and of ones (1), and the
        # number of batches left out (1). One tensor, so that ranks merge with one all-reduce.
        self.register_buffer('observed', zeros, persistent=False)
        self._batches_since_update = 0

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: bool, **kwargs: bool) -> 'ObservedLinear':
        """Same as PyTorch's, but ``half()`` leaves the averages in float32, and buffers that were on ``meta`` are 0."""
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, *args, **kwargs)
        for name, buffer in self.named_buffers(recurse=False):
            if before[name].is_meta and not buffer.is_meta:  # to_empty leaves what was in the memory
                buffer.zero_()
            elif buffer.dtype != _accumulating(buffer.dtype):
                self._buffers[name] = before[name].to(buffer.device)
        return self

    def check_features(self, x: Tensor) -> None:
        """Raise ``ValueError`` unless features are (N, D)."""
        if x.dim() != 2 or x.shape[1] != self.in_features:
            raise ValueError(f'{type(self).__name__} needs features (N, {self.in_features}), but got shape '
                             f'{tuple(x.shape)}')

    @torch.no_grad()
    def observe(self, x: Tensor, mask: Optional[Tensor] = None) -> None:
        """Add features x (N, D) to the sums of the next update; skip and count a batch with one that is not finite.

        Args:
            x: Features (N, D).
            mask: Boolean (N,), the samples that count. By default all.

        Raises:
            ValueError: Features of another shape, or a mask of another length.
        """
        self.check_features(x)
        count = self.observed.new_full((1, ), x.shape[0])
        if mask is not None:
            if mask.shape != x.shape[:1]:
                raise ValueError(f'mask must have one value for each of {len(x)} samples, but got shape '
                                 f'{tuple(mask.shape)}')
            # Counted on the device: selecting the rows would make the host wait for their number.
            x, count = x.masked_fill(~mask[:, None], 0), mask.sum().reshape(1)
        sums = torch.cat([functional.sums_of_heads(x.to(self.observed.dtype), self.num_heads).flatten(), count])
        # Chosen on the device: the host need not wait to know whether they are finite.
        is_finite = sums.isfinite().all()
        self.observed[:-1] += torch.where(is_finite, sums, torch.zeros_like(sums))
        self.observed[-1] += ~is_finite

    @torch.no_grad()
    def update_direction(self, momentum: float) -> None:
        """Move the averages by one step towards the samples observed since the last call, and forget those.

        Call it after each optimiser step, on every rank: with several processes of ``torch.distributed``, the sums and
        counts of all ranks are added first. Nothing moves if no finite sample was seen. No value leaves the device.

        Args:
            momentum: Weight of the old value, in [0, 1), e.g. 0.9 for SGD with momentum 0.9.
        """
        sum_over_ranks(self.observed)
        sum_x, sum_unit, count, skipped = self.observed.split([self.in_features, self.in_features, 1, 1])
        is_finite = self.observed.isfinite().all()
        usable = (count > 0).squeeze() & is_finite
        mean_feature = functional.update_moving_average(self.mean_feature, sum_x / count, momentum)
        direction = functional.head_direction(mean_feature, self.num_heads)
        cosine = (sum_unit / count * direction).sum() / self.num_heads
        # Start from the first cosine; averaging with the initial zero would bias it low.
        mean_cosine = torch.where(self.num_updates > 0,
                                  functional.update_moving_average(self.mean_cosine, cosine, momentum), cosine)
        self.mean_feature.copy_(torch.where(usable, mean_feature, self.mean_feature))
        self.mean_cosine.copy_(torch.where(usable, mean_cosine, self.mean_cosine))
        self.num_updates += usable
        self.num_skipped += torch.where(is_finite, skipped.squeeze(), 1).long()
        self.observed.zero_()
        self._batches_since_update = 0
        self.is_scheduled = True

    def reset_direction(self) -> None:
        """Forget all features: the averages are zero again, as in a new layer."""
        for buffer in (self.mean_feature, self.mean_cosine, self.num_updates, self.num_skipped, self.observed):
            buffer.zero_()
        self.has_told_of_skipped = False

    def skipped_batches(self) -> str:
        """Return a sentence on the training batches that were left out of the direction."""
        return (f'{int(self.num_skipped)} training batches were left out of the head direction, because their features '
                'are not finite: look at the learning rate, the loss and the images')
