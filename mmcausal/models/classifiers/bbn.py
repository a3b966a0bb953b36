"""Bilateral-branch network (Zhou et al., CVPR 2020, arXiv 1912.02413)."""
from typing import Dict, List, Union

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmcausal.checks import check_config
from mmcausal.models.backbones.twin_backbone import TwinBackbone
from mmcausal.registry import MODELS


@MODELS.register_module()
class BBNClassifier(ImageClassifier):
    """Classifier with two branches: a conventional one, and one that learns from reversed sampling.

    In training, images alternate between the twins of the backbone, and the classifier sees both features, each scaled
    by the share of its branch. At inference it is an ordinary classifier: an image passes both twins with equal shares.

    Args:
        backbone: Config of a :class:`TwinBackbone`, such as :class:`ResNet32` or :class:`TwinResNeXt`.
        **kwargs: ``neck``, ``head`` ... of MMPretrain's ``ImageClassifier``. Use the sampler
            :class:`mmcausal.datasets.TwoBranchSampler`.

    Attributes:
        conventional_share: Share of the first branch in [0, 1], set by :class:`mmcausal.hooks.CumulativeLearningHook`.

    Raises:
        ValueError: A backbone without twins, no neck, or an odd number of training images.
    """

    backbone: TwinBackbone

    def __init__(self, backbone: dict, **kwargs: Union[dict, bool, None]) -> None:
        super().__init__(check_config('backbone', backbone, nn.Module), **kwargs)
        if len(getattr(self.backbone, 'twins', ())) != 2:
            raise ValueError('BBNClassifier needs a backbone with twin blocks, such as mmcausal.ResNet32, but got '
                             f'{type(self.backbone).__name__}')
        if not self.with_neck:
            raise ValueError('BBNClassifier needs a neck that pools the features, such as GlobalAveragePooling, but '
                             'got none')
        self.conventional_share = 1.

    def loss(self, inputs: Tensor, data_samples: List[DataSample]) -> Dict[str, Tensor]:
        """Return the loss of images (2 N, 3, H, W) that alternate between the branches."""
        if len(inputs) % 2:
            raise ValueError(f'BBNClassifier needs pairs of images, but got {len(inputs)} images; use the sampler '
                             'mmcausal.TwoBranchSampler and an even batch_size')
        # In evaluation mode, as for an estimated head direction, the features are those of a prediction
        share = self.conventional_share if self.training else 0.5
        shares = share, 1 - share
        features = [self.neck(twin(self.backbone.shared(inputs[branch::2])))
                    for branch, twin in enumerate(self.backbone.twins)]
        mixed = 2 * torch.cat([share * feature for share, feature in zip(shares, features)], dim=1)
        losses = [self.head.loss((mixed, ), data_samples[branch::2])['loss'] for branch in (0, 1)]
        return dict(loss=sum(share * loss for share, loss in zip(shares, losses)))
