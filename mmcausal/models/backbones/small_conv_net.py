"""Small backbone that trains in seconds on a CPU."""
from typing import Optional, Sequence, Tuple

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmcausal.checks import check_integer
from mmcausal.registry import MODELS


@MODELS.register_module()
class SmallConvNet(BaseModule):
    """Stack of 3 x 3 convolutions with batch normalisation, each after the first at half the resolution.

    Args:
        in_channels: Channels of the image.
        channels: Output channels of each convolution.
        init_cfg: PyTorch's own initialisation by default.

    Raises:
        ValueError: No convolution, or a number of channels below 1.

    Forward:
        Images (N, in_channels, H, W) to a tuple of one feature map (N, channels[-1], H', W').
    """

    def __init__(self,
                 in_channels: int = 3,
                 channels: Sequence[int] = (64, 128, 256),
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        check_integer('in_channels', in_channels, 1)
        if not isinstance(channels, (list, tuple)) or not channels:
            raise ValueError(f'channels must be the output channels of one or more convolutions, but got {channels!r}')
        for width in channels:
            check_integer('channels', width, 1)
        layers = []
        for index, (before, after) in enumerate(zip([in_channels, *channels], channels)):
            layers.append(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, stride=2 if index else 1, padding=1, bias=False),
                    nn.BatchNorm2d(after), nn.ReLU(inplace=True)))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tuple[Tensor]:
        return (self.layers(x), )
