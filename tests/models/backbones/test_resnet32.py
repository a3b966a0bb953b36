"""The ResNet-32 of the paper."""
import torch
from torch import nn

from mmcausal.models import ResNet32


def test_resnet32_is_the_papers():
    net = ResNet32()
    assert net(torch.randn(2, 3, 32, 32))[0].shape == (2, 128, 8, 8)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    # 1 + 2 * 15, and the twin of the last block
    assert len(convolutions) == 33 and all(m.kernel_size == (3, 3) for m in convolutions)
    last = net.twins[0](torch.zeros(1, 64, 8, 8)), net.twins[1](torch.zeros(1, 64, 8, 8))
    assert last[0].shape == last[1].shape == (1, 64, 8, 8)
