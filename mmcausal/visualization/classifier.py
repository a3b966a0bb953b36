"""All plots of one trained classifier, from its features."""
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Sequence

import numpy as np
import torch

from mmcausal.analysis.sweeps import Array, iterate_probs
from mmcausal.models.layers import Alpha, TDELinear
from mmcausal.text import Name
from mmcausal.visualization.class_accuracy import draw_class_accuracy
from mmcausal.visualization.features import (
    draw_decomposition,
    draw_direction_cosines,
    draw_feature_norms,
    draw_weight_norms,
)
from mmcausal.visualization.predictions import draw_confusion, draw_reliability
from mmcausal.visualization.ranks import MOST_NAMED
from mmcausal.visualization.style import COLUMN_WIDTH, HEIGHT, paper_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Names of all figures of classifier_pictures and of grad_cam_pictures
PICTURES = ('feature_norms', 'weight_norms', 'class_accuracy', 'confusion', 'reliability', 'direction_cosines',
            'decomposition', 'grad_cam')


def classifier_pictures(layer: TDELinear, features: Array, labels: Array, class_counts: Array,
                        groups: Dict[str, np.ndarray], alpha: Optional[Alpha] = None,
                        names: Optional[Sequence[Name]] = None,
                        probs: Optional[Dict[str, np.ndarray]] = None) -> Dict[str, 'Figure']:
    """Draw all plots of a classifier; return Matplotlib figures by name.

    Args:
        layer: Trained classifier. Without a head direction, the plots of it are left out.
        features: Input (N, D) of the classifier for tested images.
        labels: Classes (N,) of these images.
        class_counts: Training images of each class (C,).
        groups: Masks (C,) of the shot groups, see :func:`mmcausal.evaluation.shot_groups`.
        alpha: Alpha of TDE. By default the layer's own.
        names: Names of the classes (C,). By default, axes show ranks alone.
        probs: Class probabilities (N, C) by name, e.g. means over several views of an image. By default those of the
            layer for the features, by total effect and by TDE.
    """
    features, labels, class_counts = (np.asarray(value) for value in (features, labels, class_counts))
    features = features.astype(np.float32, copy=False)
    weight, mean_feature = (t.detach().cpu().numpy() for t in (layer.weight, layer.mean_feature))
    probs = probs or {name: torch.cat(list(iterate_probs(layer, features, value))).numpy()
                      for name, value in alphas_to_show(layer, alpha).items()}
    predictions = {name: value.argmax(1) for name, value in probs.items()}

    figures = {
        'feature_norms': _by_class(draw_feature_norms, features, labels, class_counts, groups, names),
        'weight_norms': _by_class(draw_weight_norms, weight, class_counts, groups, names),
        'class_accuracy': _by_class(draw_class_accuracy, labels, predictions, class_counts, names),
        'confusion': _one_each(draw_confusion, predictions, lambda value: (labels, value, groups)),
        'reliability': _one_each(draw_reliability, probs, lambda value: (value, labels, groups))}
    if mean_feature.any():
        direction = (features, labels, mean_feature, layer.num_heads, groups)
        figures['direction_cosines'] = _single(draw_direction_cosines, *direction)
        figures['decomposition'] = _single(draw_decomposition, *direction)
    return figures


def alphas_to_show(layer: TDELinear, alpha: Optional[Alpha] = None) -> Dict[str, Alpha]:
    """Return alpha by name: 0 for the total effect and, if the layer can infer by TDE, its alpha or the given one."""
    alpha = layer.alpha if alpha is None else alpha
    return {'total effect': 0., 'TDE': alpha} if layer.mean_feature.any() and alpha != 0 else {'total effect': 0.}


def _single(draw: Callable[..., None], *args: Any) -> 'Figure':
    figure, axes = paper_figure()
    draw(axes, *args)
    return figure


def _by_class(draw: Callable[..., None], *args: Any) -> 'Figure':
    """Draw a plot whose axis has the names of the classes, the last of ``args``, or ranks."""
    names = args[-1]
    room = 0.7 if names is not None and len(names) <= MOST_NAMED else 0  # inches for names below the axis
    figure, axes = paper_figure(panel=(COLUMN_WIDTH, HEIGHT + room))
    draw(axes, *args)
    return figure


def _one_each(draw: Callable[..., None], values: Dict[str, np.ndarray],
              arguments: Callable[[np.ndarray], tuple]) -> 'Figure':
    """Draw a panel for each of ``values``, one below the other, so that they stay readable in a narrow column."""
    figure, _ = paper_figure(rows=len(values))
    for axes, (name, value) in zip(figure.axes, values.items()):
        draw(axes, *arguments(value))
        legend = axes.get_legend()
        if legend is None:
            axes.set_title(name, fontsize=8)
        else:  # above the axes too
            legend.set_title(name, prop=dict(size=8))
    return figure
