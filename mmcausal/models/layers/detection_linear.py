"""De-confounded classifier layer of a detector, with a background class."""
from typing import ContextManager, Optional

import torch
from torch import Tensor

from mmcausal.checks import check_flag, check_integer
from mmcausal.models.layers.checked_linear import Device
from mmcausal.models.layers.deconfound_linear import DeconfoundLinear
from mmcausal.models.layers.exemption import exempt_background
from mmcausal.models.layers.folded_linear import FoldedDetectionLinear, FoldedLinear
from mmcausal.models.layers.tde_linear import Alpha
from mmcausal.temporary import temporarily


class DetectionDeconfoundLinear(DeconfoundLinear):
    """Same as :class:`DeconfoundLinear`, except that the background takes no part in cause or effect.

    Only foreground proposals move the head direction: in training mode, features are observed within
    :meth:`observing`, which says which of them are foreground. In evaluation with ``alpha > 0`` the output is the
    logarithm of the background-exempted distribution (Eq. 9); the softmax of it is that distribution.

    Args:
        in_features, out_features: D, and C + 1 with the background last (Seesaw loss: C + 2, see below).
        bias, num_heads, tau, gamma, normalizer, alpha, device, dtype: As in :class:`DeconfoundLinear`.
        exempt_background: ``False`` applies TDE to the background too, the ablation in the paper's Table 4.

    Attributes:
        num_background: Number of last outputs that describe the background, set by the RoI head. With 1, the background
            is one more class. With 2, they are the objectness logits of Seesaw loss, a distribution of their own,
            which TDE leaves alone.
    """
    without_samples = ('no proposal was foreground: check the class names, metainfo.classes of the training data '
                       'against the categories of its annotation file')

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 bias: bool = False,
                 num_heads: int = 2,
                 tau: float = 16.,
                 gamma: float = 1 / 32,
                 normalizer: str = 'deconfound',
                 alpha: Alpha = 0.,
                 exempt_background: bool = True,
                 device: Device = None,
                 dtype: Optional[torch.dtype] = None) -> None:
        check_integer('out_features', out_features, 2)  # a class and the background
        super().__init__(in_features, out_features, bias, num_heads, tau, gamma, normalizer, alpha, device, dtype)
        self.exempt_background = check_flag('exempt_background', exempt_background)
        self.num_background = 1
        self._is_foreground: Optional[Tensor] = None

    def total_direct_effect(self, x: Tensor) -> Tensor:
        """Return the logits (N, C + 1) of Eq. 8, or the log-probabilities of Eq. 9."""
        logits, head_effect = self.effects(x)
        tde_logits = self.less_head_effect(logits, head_effect)
        if not self.exempt_background:
            return tde_logits
        return exempt_background(logits, tde_logits, self.num_background)

    def fold(self) -> FoldedLinear:
        return FoldedDetectionLinear(self) if self.alpha != 0 and self.exempt_background else super().fold()

    def observing(self, is_foreground: Tensor) -> ContextManager[None]:
        """Return a context in which features that pass in training mode are observed, those of the foreground.

        Args:
            is_foreground: Boolean (N,), for the N proposals of the forward pass.

        Raises:
            ValueError: In the forward pass, another number of proposals.
        """
        return temporarily(self, _is_foreground=is_foreground)

    def _observe_input(self, x: Tensor) -> None:
        if self._is_foreground is not None:
            self.observe(x, self._is_foreground)

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, exempt_background={self.exempt_background}'
