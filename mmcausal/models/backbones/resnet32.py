"""The paper's backbone on CIFAR: BBN's ResNet-32 (Zhou et al., CVPR 2020, arXiv 1912.02413)."""
from typing import Optional, Tuple

import torch
from mmengine.model import BaseModule, Sequential
from mmpretrain.models.backbones.resnet import BasicBlock
from torch import Tensor, nn
from torch.nn import functional as F

from mmcausal.checks import check_integer
from mmcausal.registry import MODELS


class PaddedShortcut(nn.Module):
    """Option-A shortcut of He et al., CVPR 2016: drop every second pixel, pad the new channels with zeros."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        before = (out_channels - in_channels) // 2
        self.padding = (0, 0, 0, 0, before, out_channels - in_channels - before)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::self.stride, ::self.stride], self.padding)


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> Sequential:
    first = BasicBlock(
        in_channels,
        out_channels,
        stride=stride,
        downsample=PaddedShortcut(in_channels, out_channels, stride) if stride > 1 else None)
    return Sequential(first, *(BasicBlock(out_channels, out_channels) for _ in range(blocks - 1)))


@MODELS.register_module()
class ResNet32(BaseModule):
    """ResNet-32 with two last blocks, side by side.

    Three stages of five basic blocks with 16, 32 and 64 channels; the outputs of the last blocks are concatenated.

    Args:
        in_channels: Channels of the image.
        last_blocks: Number of last blocks; with one, this is the ResNet-32 of He et al., CVPR 2016.
        init_cfg: Kaiming-normal convolutions by default.

    Raises:
        ValueError: ``in_channels`` or ``last_blocks`` below 1.

    Forward:
        Images (N, in_channels, H, W) to a tuple of one feature map (N, 64 last_blocks, H / 4, W / 4).
    """

    def __init__(self, in_channels: int = 3, last_blocks: int = 2, init_cfg: Optional[dict] = None) -> None:
        check_integer('in_channels', in_channels, 1)
        check_integer('last_blocks', last_blocks, 1)
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d', mode='fan_in', distribution='normal'))
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.stage1 = _stage(16, 16, blocks=5, stride=1)
        self.stage2 = _stage(16, 32, blocks=5, stride=2)
        self.stage3 = _stage(32, 64, blocks=4, stride=2)
        self.twins = nn.ModuleList(BasicBlock(64, 64) for _ in range(last_blocks))

    def shared(self, x: Tensor) -> Tensor:
        """Return the feature map (N, 64, H / 4, W / 4) of images (N, in_channels, H, W), which the last blocks take."""
        return self.stage3(self.stage2(self.stage1(self.stem(x))))

    def forward(self, x: Tensor) -> Tuple[Tensor]:
        x = self.shared(x)
        return (torch.cat([twin(x) for twin in self.twins], dim=1), )
