"""Multi-head de-confounded classifier layer."""
from typing import Optional

import torch
from torch import nn

from mmcausal import functional
from mmcausal.checks import check_number
from mmcausal.models.layers.checked_linear import Device
from mmcausal.models.layers.tde_linear import Alpha, TDELinear


class DeconfoundLinear(TDELinear):
    r"""Same as :class:`TDELinear`, except that features and weights are normalised in K heads (Eq. 7).

    Args:
        in_features, out_features: D and C.
        bias: As in :class:`TDELinear`; for stock classifiers that are tested with TDE afterwards.
        num_heads, tau, gamma, normalizer: See :func:`mmcausal.functional.deconfounded_logits`. ``gamma`` acts with
            ``'deconfound'`` alone, and ``tau`` with all normalisers but ``'linear'``.
        alpha, device, dtype: As in :class:`TDELinear`.
        init_length: Length of each class weight at the start, positive. By default PyTorch's U(-1/sqrt(D), 1/sqrt(D)),
            about 0.58. A step turns a class weight of a cosine classifier in proportion to 1/length^2, so from a start
            at 1 the first steps are three times smaller.

    Raises:
        ValueError: At construction, for arguments out of range.
        RuntimeError: In evaluation with ``alpha != 0``, if no direction was trained or loaded.

    Example:
        >>> layer = DeconfoundLinear(64, 10)
        >>> for _ in range(3):
        ...     logits = layer(torch.randn(8, 64) + 1)  # ... loss.backward(), optimizer.step()
        ...     layer.update_direction(momentum=0.9)
        >>> layer.alpha = 0.5  # chosen on held-out images
        >>> layer.eval()(torch.randn(8, 64)).shape  # by TDE
        torch.Size([8, 10])
    """
    init_length: Optional[float] = None  # PyTorch's constructor initialises before ours can set it

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
                 init_length: Optional[float] = None) -> None:
        super().__init__(in_features, out_features, bias=bias, alpha=alpha, device=device, dtype=dtype)
        functional.check_hyperparameters(in_features, num_heads, tau, gamma, normalizer)
        self.num_heads = num_heads
        self.tau = tau
        self.gamma = gamma
        self.normalizer = normalizer
        if init_length is not None:
            self.init_length = check_number('init_length', init_length, '(0, inf)')
            self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.init_length is not None:
            with torch.no_grad():
                self.weight.copy_(self.init_length * nn.functional.normalize(self.weight))

    @property
    def hyperparameters(self) -> functional.Hyperparameters:
        """K, tau, gamma and normaliser, as :mod:`mmcausal.functional` takes them."""
        return functional.Hyperparameters(self.num_heads, self.tau, self.gamma, self.normalizer)

    def extra_repr(self) -> str:
        acting = functional.NORMALIZERS[self.normalizer].parameters
        shown = ', '.join(f'{name}={getattr(self, name)}' for name in acting)
        start = '' if self.init_length is None else f', init_length={self.init_length}'
        return f'{super().extra_repr()}, {shown}, normalizer={self.normalizer!r}{start}'
