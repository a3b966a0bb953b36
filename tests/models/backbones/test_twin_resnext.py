"""The ResNeXt with twin last blocks."""
import torch
from mmengine.registry import init_default_scope

from mmcausal.registry import MODELS


def test_twin_resnext_concatenates_its_twins():
    init_default_scope('mmpretrain')
    net = MODELS.build(dict(type='mmcausal.TwinResNeXt', depth=50, groups=32, width_per_group=4))
    net.eval()
    assert len(net.layer4) == 2  # the third block exists twice
    image = torch.randn(1, 3, 32, 32)
    feature, = net(image)
    assert feature.shape == (1, 4096, 1, 1)
    shared = net.shared(image)
    torch.testing.assert_close(feature, torch.cat([net.twins[0](shared), net.twins[1](shared)], 1))
