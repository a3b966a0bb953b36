"""How accuracy depends on alpha, from stored features."""
from typing import Any, Dict, Iterable, Iterator, List

import numpy as np
import torch
from torch import Tensor

from mmcausal.evaluation.shot_accuracy import ShotAccuracy
from mmcausal.models.deconfound_linear import DeconfoundLinear, check_alpha

CHUNK = 4096  # images at a time


@torch.no_grad()
def sweep_alpha(layer: DeconfoundLinear, features: Any, labels: Any, alphas: Iterable[float],
                metric: ShotAccuracy) -> List[Dict[str, Any]]:
    """Accuracy in percent and entropy of the mean prediction, for each alpha.

    The entropy, in nats, needs no label: on balanced images it tells how evenly the classes are predicted.

    Args:
        layer: A trained classifier with a head direction; its ``alpha`` and mode are left as they were.
        features: (N, D), a tensor or an array, in memory or mapped.
        labels: (N,), likewise.
        alphas: Values of the trade-off.
        metric: Knows the class counts and the shot groups.

    Returns:
        One dictionary per alpha, with ``alpha``, ``normalizer``, ``entropy`` and the keys of :class:`ShotAccuracy`.

    Raises:
        ValueError: An alpha that is negative or not finite.
    """
    results = []
    labels = torch.as_tensor(labels).tolist()
    for alpha in [check_alpha(alpha) for alpha in alphas]:
        predictions: List[int] = []
        total = torch.zeros(layer.out_features)
        for probs in iterate_probs(layer, features, alpha):
            predictions += probs.argmax(-1).tolist()
            total += probs.sum(0)
        accuracy = metric.compute_metrics(list(zip(labels, predictions)))
        entropy = float(torch.special.entr(total / len(predictions)).sum())
        results.append(dict(alpha=alpha, normalizer=layer.normalizer, entropy=entropy, **accuracy))
    return results


def predict(layer: DeconfoundLinear, features: Any, alpha: Any) -> np.ndarray:
    """The classes (N,) that ``layer`` predicts with ``alpha`` for features (N, D)."""
    return np.concatenate([probs.argmax(-1).numpy() for probs in iterate_probs(layer, features, alpha)])


@torch.no_grad()
def iterate_probs(layer: DeconfoundLinear, features: Any, alpha: Any) -> Iterator[Tensor]:
    """The class probabilities (n, C) that ``layer`` gives with ``alpha`` to features (N, D), some images at a time."""
    before = layer.alpha, layer.training
    layer.eval().alpha = check_alpha(alpha)
    try:
        for start in range(0, len(features), CHUNK):
            chunk = torch.as_tensor(features[start:start + CHUNK], dtype=torch.float32)
            yield layer(chunk.to(layer.weight.device)).softmax(-1).cpu()
    finally:
        layer.alpha = before[0]
        layer.train(before[1])
