"""Accuracy over the exponent of the tau-normalised classifier, from stored features."""
from typing import Iterable, List

import numpy as np

from mmcausal.analysis.alpha_sweep import Array, Point, predict
from mmcausal.evaluation import ShotAccuracy
from mmcausal.models.layers.decoupled_linears import TauNormLinear, check_exponent


def sweep_exponent(layer: TauNormLinear, features: Array, labels: Array, exponents: Iterable[float],
                   metric: ShotAccuracy) -> List[Point]:
    """Compute accuracy in percent for each exponent (tau of Kang et al.).

    Args:
        layer: A trained classifier; its ``exponent`` does not change, and its ``alpha`` applies.
        features: (N, D), a tensor or an array, in memory or mapped.
        labels: (N,), likewise.
        exponents: Values in [0, 1].
        metric: Metric with the class counts and shot groups.

    Returns:
        One dictionary per exponent with ``exponent`` and the keys of :class:`ShotAccuracy`.

    Raises:
        ValueError: An exponent outside [0, 1].
    """
    exponents = [check_exponent(exponent) for exponent in exponents]
    before = layer.exponent
    points: List[Point] = []
    try:
        for layer.exponent in exponents:
            pairs = np.stack([np.asarray(labels), predict(layer, features, layer.alpha)], 1)
            points.append({'exponent': layer.exponent, **metric.compute_metrics(pairs)})
    finally:
        layer.exponent = before
    return points
