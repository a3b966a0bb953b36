"""ResNet-10, the small backbone of ImageNet-LT (Liu et al., CVPR 2019, OLTR)."""
from mmcausal.hosts import require_host
from mmcausal.registry import MODELS

require_host('mmpretrain')

from mmpretrain.models import ResNet  # noqa: E402
from mmpretrain.models.backbones.resnet import BasicBlock  # noqa: E402


@MODELS.register_module()
class ResNet10(ResNet):
    """Same as MMPretrain's ``ResNet``, with one basic block a stage; its output has 512 channels."""
    arch_settings = {10: (BasicBlock, (1, 1, 1, 1))}

    def __init__(self, **kwargs: object) -> None:
        super().__init__(depth=10, **kwargs)
