"""ResNeXt with two last blocks side by side, for BBN (Zhou et al., CVPR 2020, arXiv 1912.02413)."""
import copy
from typing import Tuple, Union

import torch
from mmpretrain.models import ResNeXt
from torch import Tensor, nn

from mmcausal.checks import check_integer
from mmcausal.registry import MODELS


@MODELS.register_module()
class TwinResNeXt(ResNeXt):
    """Same as MMPretrain's ``ResNeXt``, except that its last block exists twice, side by side, as in ``ResNet32``.

    Forward:
        Images (N, 3, H, W) to a tuple of one feature map (N, 4096, H / 32, W / 32), the twins' outputs concatenated.
    """

    def __init__(self, depth: int, in_channels: int = 3,
                 **kwargs: Union[int, str, bool, dict, tuple, None]) -> None:
        super().__init__(depth, in_channels=check_integer('in_channels', in_channels, 1), **kwargs)
        last_stage = getattr(self, self.res_layers[-1])
        block = last_stage[-1]
        del last_stage[-1]
        self.twins = nn.ModuleList([block, copy.deepcopy(block)])

    def shared(self, x: Tensor) -> Tensor:
        """Return the feature map (N, 2048, H / 32, W / 32) of images (N, 3, H, W), the input of both twins."""
        return super().forward(x)[-1]

    def forward(self, x: Tensor) -> Tuple[Tensor]:
        x = self.shared(x)
        return (torch.cat([twin(x) for twin in self.twins], dim=1), )
