"""Where a classifier looks, for the total effect and for TDE (Figure 5 of the paper), by pytorch-grad-cam."""
import copy
import logging
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log
from torch import Tensor, nn

from mmcausal.hosts import is_installed
from mmcausal.models.layers import Alpha, TDELinear, check_alpha
from mmcausal.visualization.classifier import alphas_to_show
from mmcausal.visualization.features import by_rank
from mmcausal.visualization.style import paper_figure


class NoFeatureMapError(ValueError):
    """A network without the map that Grad-CAM weighs."""


class _FeatureMap(nn.Module):
    """A classifier whose last feature map passes a layer of its own, at which its gradient can be taken."""

    def __init__(self, classifier: Any) -> None:
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
    """Tokens (N, extra + rows * columns, channels) to a map (N, channels, rows, columns) of the patches."""
    return tokens[:, num_extra_tokens:].unflatten(1, (rows, -1)).permute(0, 3, 1, 2)


def _cam_target(classifier: Any, images: Tensor) -> Tuple[nn.Module, nn.Module, Optional[Callable[[Tensor], Tensor]]]:
    """A network of logits, the layer in it to look at, and what makes a map of that layer's output, if it is none."""
    from mmpretrain.models import ImageClassifier, VisionTransformer
    if not isinstance(classifier, ImageClassifier):
        raise NoFeatureMapError('Grad-CAM needs an ImageClassifier of MMPretrain, but got a '
                                f'{type(classifier).__name__}')
    backbone = classifier.backbone
    if isinstance(backbone, VisionTransformer) and backbone.out_type != 'featmap':
        # The class token takes nothing from patches behind the last attention: look before it, as MMPretrain's vis_cam.
        rows, _ = backbone.patch_embed(images)[1]
        to_map = partial(_tokens_to_map, num_extra_tokens=backbone.num_extra_tokens, rows=rows)
        return classifier, backbone.layers[-1].norm1, to_map
    model = _FeatureMap(classifier)
    return model, model.last, None


def grad_cams(classifier: Any, layer: TDELinear, image: Tensor, alphas: Dict[str, Alpha]) -> Dict[str, Any]:
    """Heat maps (H, W) in [0, 1] of the classes that a classifier predicts with several alphas.

    Args:
        classifier: An ``ImageClassifier`` of MMPretrain, with a feature map (N, channels, H, W) or a
            ``VisionTransformer``. Its gradients, mode and alpha are left as they were: a copy is worked on.
        layer: The classifier layer within it.
        image: One image (channels, H, W), ready for the network.
        alphas: Alpha by name; 0 is the total effect.

    Returns:
        For each name, a pair of the class and its heat map.

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
            label = int(model(images).argmax())
            maps[name] = label, cam(images, [ClassifierOutputTarget(label)])[0]
    return maps


def short_name(name: Any) -> str:
    """The first of the synonyms that ImageNet's class names list, which fits into a picture."""
    return str(name).split(',')[0]


def draw_grad_cam(axes: Any, image: np.ndarray, heat: np.ndarray, title: str) -> None:
    """An RGB image (H, W, 3) of bytes under its heat map (H, W)."""
    axes.imshow(image)
    axes.imshow(heat, cmap='inferno', alpha=0.5, vmin=0, vmax=1)
    axes.set_title(title, fontsize=7)
    axes.set_axis_off()


def image_to_show(classifier: Any, pixels: Tensor) -> np.ndarray:
    """Pixels (channels, H, W) of a pipeline, 0 to 255, as an RGB image (H, W, 3) of bytes; grey ones too."""
    if getattr(classifier.data_preprocessor, 'to_rgb', False):
        pixels = pixels.flip(0)
    return pixels.expand(3, -1, -1).permute(1, 2, 0).numpy().astype(np.uint8)


def example_indices(labels: np.ndarray, class_counts: np.ndarray) -> List[int]:
    """The first image of each of the two most frequent and the two rarest classes among labels (N,).

    No result is looked at. ``class_counts``: training images of each class (C,).
    """
    classes, first = np.unique(labels, return_index=True)
    ranked = first[by_rank(np.asarray(class_counts)[classes])].tolist()
    return ranked[:2] + ranked[2:][-2:]


def draw_grad_cams(classifier: Any, layer: TDELinear, dataset: Any, indices: List[int],
                   alpha: Optional[Alpha] = None) -> Any:
    """A Matplotlib figure of some images of a data set: total effect above, TDE below.

    Args:
        classifier, layer: See :func:`grad_cams`.
        dataset: A data set of MMPretrain. Of several views of an image, the first is shown.
        indices: Which images.
        alpha: Of TDE; by default the layer's own. With 0, or without a head direction, there is no TDE to show.
    """
    alphas = alphas_to_show(layer, alpha)
    names = dataset.metainfo.get('classes') or range(layer.out_features)
    # Images are square, and two columns of a paper hold four of them
    figure, panels = paper_figure(columns=len(indices), rows=len(alphas), panel=(1.75, 2.1))
    for column, index in zip(np.reshape(panels, (len(alphas), len(indices))).T, indices):
        sample = {key: value[0] if isinstance(value, list) else value for key, value in dataset[index].items()}
        ready = classifier.data_preprocessor(pseudo_collate([sample]))['inputs'][0]
        cams = grad_cams(classifier, layer, ready, alphas)
        truth = short_name(names[int(sample['data_samples'].gt_label)])
        for axes, (name, (label, heat)) in zip(column, cams.items()):
            title = f'{truth}\n{name}: {short_name(names[label])}'
            draw_grad_cam(axes, image_to_show(classifier, sample['inputs']), heat, title)
    return figure


def grad_cam_pictures(classifier: Any, layer: TDELinear, dataset: Any, labels: Any, class_counts: Any,
                      alpha: Optional[Alpha] = None) -> Dict[str, Any]:
    """``grad_cam``, the figure of :func:`draw_grad_cams` for four images; nothing, and a line in the log, without it.

    Args:
        classifier, layer, dataset, alpha: See :func:`draw_grad_cams`.
        labels: Classes (N,) of the data set's images, in its order.
        class_counts: Training images of each class (C,).
    """
    if not is_installed('pytorch_grad_cam'):
        print_log('No picture grad_cam: it needs grad-cam, pip install grad-cam', 'current', logging.WARNING)
        return {}
    indices = example_indices(np.asarray(labels), class_counts)
    try:
        return dict(grad_cam=draw_grad_cams(classifier, layer, dataset, indices, alpha))
    except NoFeatureMapError as error:
        print_log(f'No picture grad_cam: {error}', 'current', logging.WARNING)
        return {}
