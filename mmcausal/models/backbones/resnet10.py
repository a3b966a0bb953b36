"""ResNet-10, the small backbone of ImageNet-LT (Liu et al., CVPR 2019, OLTR)."""
from mmpretrain.models import ResNet
from mmpretrain.models.backbones.resnet import BasicBlock

from mmcausal.checks import check_integer
from mmcausal.registry import MODELS


@MODELS.register_module()
class ResNet10(ResNet):
    """Same as MMPretrain's ``ResNet``, with one basic block per stage; the output has 512 channels."""
    arch_settings = {10: (BasicBlock, (1, 1, 1, 1))}

    def __init__(self, in_channels: int = 3, **kwargs: object) -> None:
        super().__init__(depth=10, in_channels=check_integer('in_channels', in_channels, 1), **kwargs)
