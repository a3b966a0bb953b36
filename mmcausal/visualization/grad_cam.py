"""Where a classifier looks, for the total effect and for TDE (Figure 5 of the paper), by pytorch-grad-cam."""
from typing import Any, Dict

import numpy as np
import torch
from torch import Tensor, nn

from mmcausal.models.deconfound_linear import Alpha, DeconfoundLinear, check_alpha


class _FeatureMap(nn.Module):
    """A classifier whose last feature map passes a layer of its own, at which its gradient can be taken."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier
        self.last = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        feature_map = self.classifier.backbone(images)[-1]
        if feature_map.dim() != 4:
            raise ValueError('Grad-CAM needs a backbone with a feature map (N, channels, H, W), got one of shape '
                             f'{tuple(feature_map.shape)}')
        features = (self.last(feature_map), )
        if self.classifier.with_neck:
            features = self.classifier.neck(features)
        return self.classifier.head(features)


def grad_cams(classifier: Any, layer: DeconfoundLinear, image: Tensor, alpha: Alpha) -> Dict[str, Any]:
    """Heat maps (H, W) in [0, 1] of the class that the total effect predicts, and of the one that TDE predicts.

    Args:
        classifier: A classifier of MMPretrain with a feature map and the classifier layer ``layer``.
        layer: Its alpha is left as it was.
        image: One image (channels, H, W), ready for the network.
        alpha: Of TDE.

    Returns:
        For 'total effect' and 'TDE', a pair of the class and its heat map.
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    model = _FeatureMap(classifier).eval()
    before, maps = layer.alpha, {}
    try:
        for name, value in (('total effect', 0.), ('TDE', check_alpha(alpha))):
            layer.alpha = value
            with torch.no_grad():
                label = int(model(image[None]).argmax())
            with GradCAM(model, [model.last]) as cam:
                maps[name] = label, cam(image[None], [ClassifierOutputTarget(label)])[0]
    finally:
        layer.alpha = before
    return maps


def draw_grad_cam(axes: Any, image: np.ndarray, heat: np.ndarray, title: str) -> None:
    """An RGB image (H, W, 3) of bytes under its heat map (H, W)."""
    axes.imshow(image)
    axes.imshow(heat, cmap='inferno', alpha=0.5, vmin=0, vmax=1)
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()
