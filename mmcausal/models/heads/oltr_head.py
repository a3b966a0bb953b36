"""Open long-tailed recognition (Liu et al., CVPR 2019, arXiv 1904.05160): attention and a memory of centroids."""
from typing import Dict, List, Optional, Tuple, Union

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn import functional as F

from mmcausal.checkpoints import leave_out
from mmcausal.checks import check_integer, check_number
from mmcausal.models.heads.classifier_head import ClassifierHead
from mmcausal.models.layers import NCMLinear
from mmcausal.registry import MODELS

# The source's constants: scale of the reachability, margin between centroids, weight of that margin
REACHABILITY_SCALE, MARGIN, REPULSION = 10., 10., 0.01


class ModulatedAttention(nn.Module):
    """Self-attention over a feature map, modulated by an attention over its places.

    Args:
        channels: Channels D of the feature map.
        places: Its height times its width, S.

    Forward:
        Feature map (N, D, H, W) to another of that shape.

    Raises:
        ValueError: Fewer than 2 channels or 1 place, or a map of another size.
    """

    def __init__(self, channels: int, places: int) -> None:
        super().__init__()
        check_integer('channels', channels, 2)  # half of them attend
        self.places = check_integer('places', places, 1)
        self.query, self.key, self.value = (nn.Conv2d(channels, channels // 2, 1) for _ in range(3))
        self.restore = nn.Conv2d(channels // 2, channels, 1, bias=False)
        nn.init.zeros_(self.restore.weight)  # starts as the identity, as the source
        self.spatial = nn.Linear(places * channels, places)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or x.shape[2] * x.shape[3] != self.places:
            raise ValueError(f'ModulatedAttention of {self.places} places needs a feature map (N, D, H, W) of that '
                             f'size, but got {tuple(x.shape)}')
        query, key, value = (conv(x).flatten(2) for conv in (self.query, self.key, self.value))
        attended = value @ (query.transpose(1, 2) @ key).softmax(-1).transpose(1, 2)
        attended = self.restore(attended.reshape(*attended.shape[:2], *x.shape[2:]))
        where = self.spatial(x.flatten(1)).softmax(-1)
        return x + where.reshape(len(x), 1, *x.shape[2:]) * attended


@MODELS.register_module()
class OLTRHead(ClassifierHead):
    r"""Capsule classifier on a meta-embedding: a direct feature plus a recall from a memory of class centroids.

    With the pooled, attended feature v, the memory M of centroids, o = softmax(hallucinator(v)) and
    e = tanh(selector(v)): :math:`v_{meta} = \frac{10}{\min_c \|v - M_c\|} (v + e \odot o M)`. A second loss draws
    features to the centroid of their class, and centroids of other classes away.

    The head takes feature maps, so the classifier has no neck. :class:`mmcausal.hooks.ClassMeansHook` fills the memory
    before training. As in the source, the weight of the second loss does not scale the pull on the centroids.

    Args:
        num_classes: C.
        in_channels: D.
        places: Height times width of the feature map.
        classifier: Config of the layer; by default a capsule classifier with one head, as in the source.
        centroid_weight: Weight of the second loss for the features; the pull on the centroids always has weight 1.
        init_cfg: As in :class:`ClassifierHead`.
        **kwargs: As in :class:`ClassifierHead`.

    Raises:
        ValueError: Arguments out of range, or a feature map of another size.
        RuntimeError: Without centroids.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 places: int,
                 classifier: Optional[dict] = None,
                 centroid_weight: float = 0.01,
                 init_cfg: Optional[dict] = None,
                 **kwargs: Union[dict, int, tuple, bool]) -> None:
        capsule = dict(type='mmcausal.DeconfoundLinear', normalizer='capsule', num_heads=1)
        super().__init__(num_classes, in_channels, capsule if classifier is None else classifier, init_cfg, **kwargs)
        self.centroid_weight = check_number('centroid_weight', centroid_weight, '[0, inf)')
        self.attention = ModulatedAttention(in_channels, places)
        self.hallucinator = nn.Linear(in_channels, num_classes)
        self.selector = nn.Linear(in_channels, in_channels)
        self.memory = NCMLinear(in_channels, num_classes)

    def pre_logits(self, feats: Tuple[Tensor]) -> Tensor:
        """Return the direct feature v (N, D)."""
        return self.attention(feats[-1]).mean((2, 3))

    def meta_embedding(self, direct: Tensor) -> Tensor:
        """Return the classifier's input (N, D) for direct features (N, D)."""
        centroids = self.memory.effective_weight().detach()  # only their own loss moves them
        recalled = self.hallucinator(direct).softmax(-1) @ centroids
        nearest = torch.cdist(direct, centroids).amin(1, keepdim=True).clamp(min=1e-6)
        return REACHABILITY_SCALE / nearest * (direct + self.selector(direct).tanh() * recalled)

    def forward(self, feats: Tuple[Tensor]) -> Tensor:
        """Return the logits (N, C)."""
        return self.fc(self.meta_embedding(self.pre_logits(feats)))

    def loss(self, feats: Tuple[Tensor], data_samples: List[DataSample], **kwargs: object) -> Dict[str, Tensor]:
        """Return the losses of classification and centroids.

        Raises:
            ValueError: Labels that are not one class per image, such as Mixup's.
        """
        if any('gt_score' in sample for sample in data_samples):
            raise ValueError('OLTRHead needs one label for each image, because it has a centroid of each class, but '
                             'got scores, such as those of Mixup and CutMix')
        direct = self.pre_logits(feats)
        losses = self._get_loss(self.fc(self.meta_embedding(direct)), data_samples, **kwargs)
        labels = torch.cat([sample.gt_label for sample in data_samples])
        losses['loss_centroid'] = (self.centroid_weight * self.centroid_loss(direct, labels)
                                   + self.centroid_pull(direct, labels))
        return losses

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        if f'{prefix}hallucinator.weight' not in state_dict:  # stage one: its classifier recalls, as in the source
            for name in ('weight', 'bias'):
                if f'{prefix}fc.{name}' in state_dict:
                    state_dict[f'{prefix}hallucinator.{name}'] = state_dict.pop(f'{prefix}fc.{name}')
            leave_out(state_dict, f'{prefix}fc.')  # with its direction: the layer here sees other features
        super()._load_from_state_dict(state_dict, prefix, *args)

    def centroid_loss(self, direct: Tensor, labels: Tensor) -> Tensor:
        """Return half the mean squared distance to the own centroid, plus a hinge on the distance to the others."""
        centroids = self.memory.effective_weight()
        distances = torch.cdist(direct, centroids).square()
        own = F.one_hot(labels, distances.shape[1]).bool()
        repelling = (MARGIN - distances.masked_fill(own, 0).mean()).clamp(min=0)
        # centroid_pull moves the centroids
        attracting = (direct - centroids.detach()[labels]).square().sum(1).mean() / 2
        return attracting + REPULSION * repelling

    def centroid_pull(self, direct: Tensor, labels: Tensor) -> Tensor:
        """Return 0 with the source's gradient for a centroid: the sum of the differences to its n samples, over n + 1.

        It is divided by the batch size too, but not scaled by ``centroid_weight``. The batch is that of this process.
        """
        centroids = self.memory.effective_weight()
        # bincount would make the host wait for the device.
        counts = 1 + F.one_hot(labels, len(centroids)).sum(0)
        pull = ((centroids[labels] - direct.detach()).square().sum(1) / counts[labels]).mean() / 2
        return pull - pull.detach()
