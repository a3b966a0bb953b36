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


def test_with_one_last_block_it_is_the_resnet32_of_he_et_al():
    """Without classifier: a stem, 31 convolutions in all, two vectors a batch norm; 464,154 with ten classes."""
    net = ResNet32(last_blocks=1)
    assert net(torch.randn(2, 3, 32, 32))[0].shape == (2, 64, 8, 8)
    stem, stage1, stage2, stage3 = 9 * 3 * 16, 9 * 10 * 16**2, 9 * (16 + 9 * 32) * 32, 9 * (32 + 9 * 64) * 64
    norms = 2 * (11 * 16 + 10 * 32 + 10 * 64)
    weights = sum(parameter.numel() for parameter in net.parameters())
    assert weights == stem + stage1 + stage2 + stage3 + norms == 464154 - 65 * 10
