"""Bilateral-branch network (Zhou et al., CVPR 2020, arXiv 1912.02413)."""
import copy
from typing import Any, Dict, List, Tuple

import torch
from torch import Tensor, nn

from mmcausal.hosts import require_host
from mmcausal.registry import MODELS

require_host('mmpretrain')

from mmpretrain.models import ImageClassifier, ResNeXt  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402


@MODELS.register_module()
class TwinResNeXt(ResNeXt):
    """Same as MMPretrain's ``ResNeXt``, except that its last block exists twice, side by side, as in ``ResNet32``.

    Forward:
        Images (N, 3, H, W) to a tuple of one feature map (N, 4096, H / 32, W / 32), those of the twins concatenated.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        last_stage = getattr(self, self.res_layers[-1])
        block = last_stage[-1]
        del last_stage[-1]
        self.twins = nn.ModuleList([block, copy.deepcopy(block)])

    def shared(self, x: Tensor) -> Tensor:
        """What the twins share: images to a feature map (N, 2048, H / 32, W / 32)."""
        return super().forward(x)[-1]

    def forward(self, x: Tensor) -> Tuple[Tensor]:
        x = self.shared(x)
        return (torch.cat([twin(x) for twin in self.twins], dim=1), )


@MODELS.register_module()
class BBNClassifier(ImageClassifier):
    """A conventional branch that learns from the images as they come, and one that learns from reversed sampling.

    In training, the first of two images goes through the first twin, the second through the second, and the classifier
    sees both features, each with its branch's share. At inference it is an ordinary classifier: an image goes through
    both twins with equal shares.

    Args:
        backbone: One with ``shared`` and two ``twins``, as :class:`ResNet32` and :class:`TwinResNeXt`.
        **kwargs: ``neck``, ``head`` ... of MMPretrain's ``ImageClassifier``. Its data come from
            :class:`mmcausal.datasets.TwoBranchSampler`.

    Attributes:
        conventional_share: Share of the first branch in [0, 1], set by :class:`mmcausal.hooks.CumulativeLearningHook`.

    Raises:
        ValueError: A backbone without twins, or an odd number of training images.
    """

    def __init__(self, backbone: dict, **kwargs: Any) -> None:
        super().__init__(backbone, **kwargs)
        if not hasattr(self.backbone, 'twins'):
            raise ValueError('BBNClassifier needs a backbone with twin blocks, as mmcausal.ResNet32, got '
                             f'{type(self.backbone).__name__}')
        self.conventional_share = 1.

    def loss(self, inputs: Tensor, data_samples: List[DataSample]) -> Dict[str, Tensor]:
        """Losses of images (2 N, 3, H, W), of the two branches in turns."""
        if len(inputs) % 2:
            raise ValueError(f'BBNClassifier needs pairs of images, got {len(inputs)} images; use the sampler '
                             'mmcausal.TwoBranchSampler and an even batch_size')
        shares = self.conventional_share, 1 - self.conventional_share
        features = [self.neck(twin(self.backbone.shared(inputs[branch::2])))
                    for branch, twin in enumerate(self.backbone.twins)]
        mixed = 2 * torch.cat([share * feature for share, feature in zip(shares, features)], dim=1)
        losses = [self.head.loss((mixed, ), data_samples[branch::2])['loss'] for branch in (0, 1)]
        return dict(loss=sum(share * loss for share, loss in zip(shares, losses)))
