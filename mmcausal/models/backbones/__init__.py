"""Backbones for MMPretrain."""
from mmcausal.hosts import require_host

require_host('mmpretrain')

from mmcausal.models.backbones.resnet10 import ResNet10
from mmcausal.models.backbones.resnet32 import ResNet32
from mmcausal.models.backbones.small_conv_net import SmallConvNet
from mmcausal.models.backbones.twin_backbone import TwinBackbone
from mmcausal.models.backbones.twin_resnext import TwinResNeXt

__all__ = ['ResNet10', 'ResNet32', 'SmallConvNet', 'TwinBackbone', 'TwinResNeXt']
