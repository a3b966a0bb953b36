"""Interface of a backbone with two last blocks side by side, as BBN needs it."""
from typing import Protocol

from torch import Tensor, nn


class TwinBackbone(Protocol):
    """A backbone that is shared up to its last block, which exists twice (:class:`ResNet32`, :class:`TwinResNeXt`).

    Attributes:
        twins: The two last blocks.
    """
    twins: nn.ModuleList

    def shared(self, x: Tensor) -> Tensor:
        """Return the feature map (N, D, H', W') of images (N, 3, H, W), the input of both twins."""
