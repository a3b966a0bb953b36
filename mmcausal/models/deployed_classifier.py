"""Classifier for deployment: plain images in, TDE logits out, all constants folded."""
import copy

import torch
from torch import Tensor, nn

from mmcausal.checkpoints import check_finite
from mmcausal.models.layers import TDELinear
from mmcausal.models.tde_support import check_tde


class DeployedClassifier(nn.Module):
    """Images to logits, with the normalisation of the data preprocessor inside.

    Args:
        classifier: A trained classifier of MMPretrain with a :class:`TDELinear` in its head. It does not change.
        name: Name of this layer within the classifier.

    Raises:
        ValueError: Another classifier layer, one that has no TDE, or one that was not loaded, because its checkpoint
            has other classes.
        RuntimeError: TDE without a head direction.
    """

    def __init__(self, classifier: nn.Module, name: str = 'head.fc') -> None:
        super().__init__()
        check_tde(classifier, name)
        layer = classifier.get_submodule(name)
        if not name.startswith('head.'):
            raise ValueError(f'name must be that of a layer of the head, but got {name!r}')
        if not isinstance(layer, TDELinear):
            raise ValueError(f'{name} must be a TDELinear, but got a {type(layer).__name__}; enable_tde makes one')
        self.backbone, self.neck, self.head = classifier.backbone, classifier.neck, copy.deepcopy(classifier.head)
        parent, _, attribute = name.rpartition('.')
        layer.check_loaded()
        folded = layer.fold()
        check_finite(dict(folded.named_buffers()))
        setattr(self.get_submodule(parent), attribute, folded)
        preprocessor = classifier.data_preprocessor
        is_normalized = getattr(preprocessor, '_enable_normalize', False)
        self.register_buffer('mean', preprocessor.mean if is_normalized else torch.zeros(1, 1, 1))
        self.register_buffer('std', preprocessor.std if is_normalized else torch.ones(1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, C) of images (N, channels, H, W), 0 to 255, with the network's channels (RGB)."""
        features = self.backbone((images - self.mean) / self.std)
        if self.neck is not None:
            features = self.neck(features)
        return self.head(features)  # keeps what a head does before its layer, such as OLTR's
