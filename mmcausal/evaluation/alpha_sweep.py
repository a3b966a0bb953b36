"""How accuracy depends on alpha, from stored features."""
import contextlib
from typing import Any, Dict, Iterable, Iterator, List

import numpy as np
import torch
from torch import Tensor

from mmcausal.evaluation.shot_accuracy import ShotAccuracy
from mmcausal.models.deconfound_linear import DeconfoundLinear, check_alpha

CHUNK = 1024  # images at a time: their logits stay in the cache from one alpha to the next


@torch.no_grad()
def sweep_alpha(layer: DeconfoundLinear, features: Any, labels: Any, alphas: Iterable[float],
                metric: ShotAccuracy) -> List[Dict[str, Any]]:
    """Accuracy in percent and entropy of the mean prediction, for each alpha.

    The logits are linear in alpha (Eq. 8), so total effect and head effect are computed once for all. The entropy, in
    nats, needs no label: on balanced images it tells how evenly the classes are predicted.

    Args:
        layer: A trained classifier without a background class; its ``alpha`` and mode are left as they were.
        features: (N, D), a tensor or an array, in memory or mapped.
        labels: (N,), likewise.
        alphas: Values of the trade-off.
        metric: Knows the class counts and the shot groups.

    Returns:
        One dictionary per alpha, with ``alpha``, ``normalizer``, ``entropy`` and the keys of :class:`ShotAccuracy`.

    Raises:
        ValueError: An alpha that is negative or not finite.
        RuntimeError: An alpha above 0 for a layer without a head direction.
    """
    labels = np.asarray(labels)
    alphas = [_as_number(layer, alpha) for alpha in alphas]
    predictions = np.empty((len(alphas), len(labels)), dtype=np.int64)
    total_probs = torch.zeros(len(alphas), layer.out_features)
    with _inferring(layer, layer.alpha):
        for rows, chunk in _chunks(layer, features):
            total_effect, head_effect = (logits.cpu() for logits in layer.effects(chunk))
            for index, alpha in enumerate(alphas):
                logits = torch.sub(total_effect, head_effect, alpha=alpha)
                predictions[index, rows] = logits.numpy().argmax(-1)  # several times as fast as PyTorch's
                total_probs[index] += logits.softmax(-1).sum(0)

    results = []
    for alpha, predicted, probs in zip(alphas, predictions, total_probs):
        pairs: Any = np.stack([labels, predicted], 1)
        entropy = float(torch.special.entr(probs / len(labels)).sum())
        results.append(dict(alpha=alpha, normalizer=layer.normalizer, entropy=entropy,
                            **metric.compute_metrics(pairs)))
    return results


def predict(layer: DeconfoundLinear, features: Any, alpha: Any) -> np.ndarray:
    """The classes (N,) that ``layer`` predicts with ``alpha`` for features (N, D)."""
    return np.concatenate([probs.argmax(-1).numpy() for probs in iterate_probs(layer, features, alpha)])


@torch.no_grad()
def iterate_probs(layer: DeconfoundLinear, features: Any, alpha: Any) -> Iterator[Tensor]:
    """The class probabilities (n, C) that ``layer`` gives with ``alpha`` to features (N, D), some images at a time."""
    with _inferring(layer, alpha):
        for _, chunk in _chunks(layer, features):
            yield layer(chunk).softmax(-1).cpu()


@contextlib.contextmanager
def _inferring(layer: DeconfoundLinear, alpha: Any) -> Iterator[None]:
    """Evaluation mode with ``alpha``; afterwards the layer is as before."""
    before = layer.alpha, layer.training
    layer.eval().alpha = check_alpha(alpha)
    try:
        yield
    finally:
        layer.alpha = before[0]
        layer.train(before[1])


def _as_number(layer: DeconfoundLinear, alpha: Any) -> float:
    with _inferring(layer, alpha):
        return 0. if layer.alpha == 0 else layer.resolved_alpha()


def _chunks(layer: DeconfoundLinear, features: Any) -> Iterator[Any]:
    """Slices of (N, D) features and what they hold, on the layer's device."""
    for start in range(0, len(features), CHUNK):
        rows = slice(start, start + CHUNK)
        # A copy: what is mapped from disk cannot be written, and PyTorch warns of it.
        yield rows, torch.tensor(np.asarray(features[rows], dtype=np.float32), device=layer.weight.device)
