"""A classifier for deployment: plain images in, TDE logits out, all constants folded."""
import copy
from typing import Any

import torch
from torch import Tensor, nn

from mmcausal import functional
from mmcausal.models.deconfound_linear import DeconfoundLinear


class FoldedLinear(nn.Module):
    """What a trained :class:`DeconfoundLinear` computes in evaluation, as one matrix product of normalised features."""
    weight: Tensor
    bias: Tensor

    def __init__(self, layer: DeconfoundLinear) -> None:
        super().__init__()
        self.num_heads, self.normalizer = layer.num_heads, layer.normalizer
        alpha = layer.resolved_alpha() if layer.alpha != 0 else 0.
        weight = functional.folded_weight(layer.class_weight().detach(), layer.mean_feature, alpha, layer.num_heads,
                                          layer.tau, layer.gamma, layer.normalizer)
        bias = layer.plus_bias(weight.new_zeros(1, len(weight))).detach()[0]
        self.register_buffer('weight', weight)
        self.register_buffer('bias', bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C) of features x (N, D)."""
        features = functional.normalized_features(x, self.num_heads, self.normalizer)
        return nn.functional.linear(features, self.weight, self.bias)


class DeployedClassifier(nn.Module):
    """Images to logits, with the normalisation of the data preprocessor inside.

    Args:
        classifier: A trained classifier of MMPretrain whose layer ``head.fc`` is a :class:`DeconfoundLinear`. It is
            left as it is.

    Raises:
        ValueError: Another classifier layer.
        RuntimeError: TDE without a head direction.
    """

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        layer = classifier.head.fc
        if not isinstance(layer, DeconfoundLinear):
            raise ValueError(f'head.fc must be a DeconfoundLinear, got a {type(layer).__name__}; enable_tde makes one')
        self.backbone, self.neck, self.head = classifier.backbone, classifier.neck, copy.deepcopy(classifier.head)
        self.head.fc = FoldedLinear(layer)
        preprocessor = classifier.data_preprocessor
        is_normalized = getattr(preprocessor, '_enable_normalize', False)
        self.register_buffer('mean', preprocessor.mean if is_normalized else torch.zeros(1, 1, 1))
        self.register_buffer('std', preprocessor.std if is_normalized else torch.ones(1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, C) of images (N, channels, H, W), 0 to 255, with the channels as the network takes them (RGB)."""
        features = self.backbone((images - self.mean) / self.std)
        if self.neck is not None:
            features = self.neck(features)
        return self.head(features)  # what a head does between its feature and its layer, as OLTR's, stays
