"""How accuracy depends on the exponent of the tau-normalised classifier, from stored features."""
from typing import Any, Dict, Iterable, List

import numpy as np

from mmcausal.evaluation.alpha_sweep import predict
from mmcausal.evaluation.shot_accuracy import ShotAccuracy
from mmcausal.models.decoupled_classifiers import TauNormLinear, check_exponent


def sweep_exponent(layer: TauNormLinear, features: Any, labels: Any, exponents: Iterable[float],
                   metric: ShotAccuracy) -> List[Dict[str, Any]]:
    """Accuracy in percent for each exponent, Kang et al.'s tau.

    Args:
        layer: A trained classifier; its ``exponent`` is left as it was, and its ``alpha`` applies.
        features: (N, D), a tensor or an array, in memory or mapped.
        labels: (N,), likewise.
        exponents: Values in [0, 1].
        metric: Knows the class counts and the shot groups.

    Returns:
        One dictionary per exponent, with ``exponent`` and the keys of :class:`ShotAccuracy`.

    Raises:
        ValueError: An exponent outside [0, 1].
    """
    exponents = [check_exponent(exponent) for exponent in exponents]
    before = layer.exponent
    results = []
    try:
        for layer.exponent in exponents:
            pairs: Any = np.stack([np.asarray(labels), predict(layer, features, layer.alpha)], 1)
            results.append(dict(exponent=layer.exponent, **metric.compute_metrics(pairs)))
    finally:
        layer.exponent = before
    return results
