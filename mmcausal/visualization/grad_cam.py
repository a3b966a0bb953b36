"""Heat maps of the image regions behind total effect and TDE (Figure 5 of the paper), by pytorch-grad-cam."""
import copy
import logging
from functools import partial
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

import numpy as np
import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.logging import print_log
from torch import Tensor, nn

from mmcausal.analysis.sweeps import Array
from mmcausal.hosts import is_installed
from mmcausal.models.layers import Alpha, TDELinear, check_alpha
from mmcausal.text import short_names
from mmcausal.visualization.classifier import alphas_to_show
from mmcausal.visualization.ranks import by_rank
from mmcausal.visualization.style import as_written, paper_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mmpretrain.models import ImageClassifier


class NoFeatureMapError(ValueError):
    """The network has no feature map for Grad-CAM."""


class _FeatureMap(nn.Module):
    """Classifier with a layer of its own for the last feature map, so that Grad-CAM can hook it."""

    def __init__(self, classifier: 'ImageClassifier') -> None:
        super().__init__()
        self.classifier = classifier
        self.last = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        feature_map = self.classifier.backbone(images)[-1]
        if feature_map.dim() != 4:
            raise NoFeatureMapError('Grad-CAM needs a VisionTransformer, or a backbone with a feature map (N, '
                                    f'channels, H, W), but got one of shape {tuple(feature_map.shape)}')
        features = (self.last(feature_map), )
        if self.classifier.with_neck:
            features = self.classifier.neck(features)
        return self.classifier.head(features)


def _tokens_to_map(tokens: Tensor, num_extra_tokens: int, rows: int) -> Tensor:
    """Reshape tokens (N, extra + rows * columns, channels) to a map (N, channels, rows, columns) of the patches."""
    return tokens[:, num_extra_tokens:].unflatten(1, (rows, -1)).permute(0, 3, 1, 2)


def _cam_target(classifier: 'ImageClassifier', images: Tensor) -> Tuple[nn.Module, nn.Module, Optional[partial]]:
    """Return a network of logits, its target layer, and a function that reshapes the layer's output, or ``None``."""
    from mmpretrain.models import ImageClassifier, VisionTransformer
    if not isinstance(classifier, ImageClassifier):
        raise NoFeatureMapError(f'Grad-CAM needs an ImageClassifier of MMPretrain, but got {type(classifier).__name__}')
    backbone = classifier.backbone
    if isinstance(backbone, VisionTransformer) and backbone.out_type != 'featmap':
        # After the last attention, patches no longer reach the class token: hook before it, as MMPretrain's vis_cam
        rows, _ = backbone.patch_embed(images)[1]
        to_map = partial(_tokens_to_map, num_extra_tokens=backbone.num_extra_tokens, rows=rows)
        return classifier, backbone.layers[-1].norm1, to_map
    model = _FeatureMap(classifier)
    return model, model.last, None


def grad_cams(classifier: 'ImageClassifier', layer: TDELinear, image: Tensor, alphas: Dict[str, Alpha],
              labels: Optional[Dict[str, int]] = None) -> Dict[str, Tuple[int, np.ndarray]]:
    """Compute heat maps of the classes that a copy of a classifier predicts with several alphas.

    Args:
        classifier: MMPretrain's ``ImageClassifier`` with a feature map (N, channels, H, W) or a ``VisionTransformer``.
        layer: Classifier layer within it.
        image: One image (channels, H, W), ready for the network.
        alphas: Alpha by name; 0 is the total effect.
        labels: Classes to explain, by the names of the alphas, e.g. predicted from several views. By default those that
            are predicted for this image.

    Returns:
        By name, the explained class and its heat map (H, W) in [0, 1].

    Raises:
        ValueError: Another network, or an alpha out of range.
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    classifier, layer = copy.deepcopy((classifier, layer))
    images = image[None].detach().requires_grad_()  # so that a gradient passes frozen layers too
    model, target, to_map = _cam_target(classifier.eval(), images)
    maps = {}
    with torch.enable_grad(), GradCAM(model, [target], reshape_transform=to_map) as cam:
        for name, alpha in alphas.items():
            layer.alpha = check_alpha(alpha)
            label = int(model(images).argmax()) if labels is None else labels[name]
            maps[name] = label, cam(images, [ClassifierOutputTarget(label)])[0]
    return maps


def draw_grad_cam(axes: 'Axes', image: np.ndarray, heat: np.ndarray, title: str) -> None:
    """Draw an RGB image (H, W, 3) of uint8 under its heat map (H, W)."""
    axes.imshow(image)
    axes.imshow(heat, cmap='inferno', alpha=0.5, vmin=0, vmax=1)
    axes.set_title(title, fontsize=7, **as_written(title))
    axes.set_axis_off()


def image_to_show(classifier: 'ImageClassifier', pixels: Tensor) -> np.ndarray:
    """Return pixels (channels, H, W) of a pipeline, 0 to 255, colour or grey, as an RGB image (H, W, 3) of uint8."""
    if getattr(classifier.data_preprocessor, 'to_rgb', False):
        pixels = pixels.flip(0)
    return pixels.expand(3, -1, -1).permute(1, 2, 0).numpy().astype(np.uint8)


def example_indices(labels: Array, class_counts: Array) -> List[int]:
    """Return the first image of each of the two most frequent and two rarest classes of labels (N,), by counts (C,)."""
    classes, first = np.unique(labels, return_index=True)
    ranked = first[by_rank(np.asarray(class_counts)[classes])].tolist()
    return ranked[:2] + ranked[2:][-2:]


def draw_grad_cams(classifier: 'ImageClassifier', layer: TDELinear, dataset: BaseDataset, indices: List[int],
                   alpha: Optional[Alpha] = None, probs: Optional[Dict[str, np.ndarray]] = None) -> 'Figure':
    """Draw heat maps of some images of a dataset: total effect above, TDE below.

    Args:
        classifier, layer: See :func:`grad_cams`.
        dataset: Dataset of MMPretrain. If it yields several views of an image, the first is drawn.
        indices: Indices of the images.
        alpha: Alpha of TDE. By default the layer's own. TDE is left out for 0 or without a head direction.
        probs: Class probabilities (N, C) of all images by name, see :func:`classifier_pictures`. The maps then explain
            their classes, and show their names.
    """
    alphas = alphas_to_show(layer, alpha)
    if probs is not None:
        alphas = {name: value for name, value in alphas.items() if name in probs}
    names = short_names(dataset.metainfo.get('classes') or range(layer.out_features), width=20)
    # Images are square, and two columns of a paper fit four of them
    figure, _ = paper_figure(columns=len(indices), rows=len(alphas), panel=(1.75, 2.1))
    for column, index in zip(np.array(figure.axes).reshape(len(alphas), len(indices)).T, indices):
        sample = {key: value[0] if isinstance(value, list) else value for key, value in dataset[index].items()}
        image = classifier.data_preprocessor(pseudo_collate([sample]))['inputs'][0]
        labels = None if probs is None else {name: int(probs[name][index].argmax()) for name in alphas}
        cams = grad_cams(classifier, layer, image, alphas, labels)
        truth = names[int(sample['data_samples'].gt_label)]
        for axes, (name, (label, heat)) in zip(column, cams.items()):
            title = f'{truth}\n{name}: {names[label]}'
            draw_grad_cam(axes, image_to_show(classifier, sample['inputs']), heat, title)
    return figure


def grad_cam_pictures(classifier: 'ImageClassifier', layer: TDELinear, dataset: BaseDataset, labels: Array,
                      class_counts: Array, alpha: Optional[Alpha] = None,
                      probs: Optional[Dict[str, np.ndarray]] = None) -> Dict[str, 'Figure']:
    """Return ``grad_cam``, the figure of :func:`draw_grad_cams` for four images; if impossible, nothing and a warning.

    Args:
        classifier, layer, dataset, alpha, probs: See :func:`draw_grad_cams`.
        labels: Classes (N,) of the images of the dataset, in order.
        class_counts: Training images of each class (C,).
    """
    if not is_installed('pytorch_grad_cam'):
        print_log('No plot grad_cam: it needs grad-cam. Run: pip install grad-cam', 'current', logging.WARNING)
        return {}
    try:
        indices = example_indices(labels, class_counts)
        return dict(grad_cam=draw_grad_cams(classifier, layer, dataset, indices, alpha, probs))
    except NoFeatureMapError as error:
        print_log(f'No plot grad_cam: {error}', 'current', logging.WARNING)
        return {}
