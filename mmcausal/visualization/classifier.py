"""All pictures of one trained classifier, from its features."""
from typing import Any, Callable, Dict, Optional

import numpy as np
import torch

from mmcausal.analysis import iterate_probs
from mmcausal.models.layers import Alpha, TDELinear
from mmcausal.visualization.features import (
    draw_decomposition,
    draw_direction_cosines,
    draw_feature_norms,
    draw_weight_norms,
)
from mmcausal.visualization.predictions import draw_class_accuracy, draw_confusion, draw_reliability
from mmcausal.visualization.style import paper_figure


def classifier_pictures(layer: TDELinear, features: Any, labels: Any, class_counts: Any,
                        groups: Dict[str, np.ndarray], alpha: Optional[Alpha] = None) -> Dict[str, Any]:
    """Matplotlib figures by name.

    Args:
        layer: The trained classifier. Without a head direction there are only the pictures that need none.
        features: Its input (N, D) for images that were tested.
        labels: Their classes (N,).
        class_counts: Training images of each class (C,).
        groups: Which classes (C,) are many-, medium- and few-shot, see :func:`mmcausal.evaluation.shot_groups`.
        alpha: Of TDE; by default the layer's own.
    """
    features, labels, class_counts = (np.asarray(value) for value in (features, labels, class_counts))
    features = features.astype(np.float32, copy=False)
    weight, mean_feature = (t.detach().cpu().numpy() for t in (layer.weight, layer.mean_feature))
    has_direction = bool(mean_feature.any())
    probs = {name: torch.cat(list(iterate_probs(layer, features, value))).numpy()
             for name, value in alphas_to_show(layer, alpha).items()}
    predictions = {name: value.argmax(1) for name, value in probs.items()}

    figures = {
        'feature_norms': _single(draw_feature_norms, features, labels, class_counts, groups),
        'weight_norms': _single(draw_weight_norms, weight, class_counts, groups),
        'class_accuracy': _single(draw_class_accuracy, labels, predictions, class_counts),
        'confusion': _one_each(draw_confusion, predictions, lambda value: (labels, value, groups)),
        'reliability': _one_each(draw_reliability, probs, lambda value: (value, labels, groups)),
    }
    if has_direction:
        direction = (features, labels, mean_feature, layer.num_heads, groups)
        figures['direction_cosines'] = _single(draw_direction_cosines, *direction)
        figures['decomposition'] = _single(draw_decomposition, *direction)
    return figures


def alphas_to_show(layer: TDELinear, alpha: Optional[Alpha] = None) -> Dict[str, Alpha]:
    """Alpha by name: of the total effect, and of TDE (by default the layer's own) where there is TDE to show."""
    alphas: Dict[str, Alpha] = {'total effect': 0.}
    alpha = layer.alpha if alpha is None else alpha
    if layer.mean_feature.any() and alpha != 0:
        alphas['TDE'] = alpha
    return alphas


def _single(draw: Callable[..., None], *args: Any) -> Any:
    figure, axes = paper_figure()
    draw(axes, *args)
    return figure


def _one_each(draw: Callable[..., None], values: Dict[str, np.ndarray], arguments: Callable[[Any], tuple]) -> Any:
    """One panel for each of ``values``, side by side."""
    figure, panels = paper_figure(columns=len(values))
    for axes, (name, value) in zip(np.atleast_1d(panels), values.items()):
        draw(axes, *arguments(value))
        axes.set_title(name, fontsize=8)
    return figure
