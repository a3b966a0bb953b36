"""The classifier layer of a detector, which has a background class."""
from typing import Any, Optional

import torch
from torch import Tensor

from mmcausal import functional
from mmcausal.models.deconfound_linear import DeconfoundLinear
from mmcausal.registry import MODELS


@MODELS.register_module()
class DetectionDeconfoundLinear(DeconfoundLinear):
    """Same as :class:`DeconfoundLinear`, except that the background takes no part in cause or effect.

    The head direction is that of foreground proposals: training keeps the input until the RoI head, which knows the
    labels, calls :meth:`observe_foreground`. In evaluation with ``alpha > 0`` the output is the logarithm of the
    background-exempted distribution (Eq. 9), whose softmax is that distribution.

    Args:
        in_features, out_features: D, and C + 1 with the background last (Seesaw loss: C + 2, see below).
        exempt_background: ``False`` applies TDE to the background too, the ablation in the paper's Table 4.
        **kwargs: Arguments of :class:`DeconfoundLinear`.

    Attributes:
        num_background: How many of the last outputs are about the background, set by the RoI head. With one, it is a
            class among the others. With two, they are the objectness logits of Seesaw loss, a distribution of their
            own, which TDE then leaves alone.
    """

    def __init__(self, *args: Any, exempt_background: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exempt_background = exempt_background
        self.num_background = 1
        self._unlabelled: Optional[Tensor] = None

    def total_direct_effect(self, x: Tensor) -> Tensor:
        """Logits (N, C + 1) of Eq. 8, or log-probabilities of Eq. 9."""
        logits, head_effect = self.effects(x)
        tde_logits = torch.sub(logits, head_effect, alpha=self.resolved_alpha())
        if not self.exempt_background:
            return tde_logits
        if self.num_background == 1:
            return functional.background_exempt(logits, tde_logits)
        return torch.cat([tde_logits[:, :-self.num_background], logits[:, -self.num_background:]], dim=1)

    def observe(self, x: Tensor) -> None:
        """Keep features x (N, D) until their labels are known."""
        self._unlabelled = x.detach()

    @torch.no_grad()
    def observe_foreground(self, is_foreground: Tensor) -> None:
        """Add the foreground among the last features in training mode to the sums of the next update.

        Args:
            is_foreground: (N,), boolean.

        Raises:
            ValueError: Another number of proposals than the features had.
        """
        if self._unlabelled is None:
            return
        if self._unlabelled.shape[:1] != is_foreground.shape:
            raise ValueError(f'is_foreground must say of each of {len(self._unlabelled)} proposals whether it is '
                             f'foreground, got {tuple(is_foreground.shape)}')
        x = self._unlabelled.masked_fill(~is_foreground[:, None], 0)
        # A count on the device: selecting the rows would make the host wait for their number.
        self._add_to_sums(x, is_foreground.sum().reshape(1))
        self._unlabelled = None

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, exempt_background={self.exempt_background}'
