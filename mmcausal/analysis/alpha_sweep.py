"""Accuracy over alpha, from stored features."""
import contextlib
from typing import Dict, Iterable, Iterator, List, Sequence, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from mmcausal.evaluation import ShotAccuracy
from mmcausal.models.layers import Alpha, TDELinear, check_alpha

CHUNK = 1024  # images at a time, so that their logits stay in the cache from one alpha to the next
Array = Union[np.ndarray, Tensor, Sequence[int]]
Point = Dict[str, Union[float, str, List[float]]]


@torch.no_grad()
def sweep_alpha(layer: TDELinear, features: Array, labels: Array, alphas: Iterable[Alpha],
                metric: ShotAccuracy) -> List[Point]:
    """Compute accuracy in percent and entropy of the mean prediction for each alpha.

    The logits are linear in alpha (Eq. 8), so total effect and head effect are computed once for all. The entropy, in
    nats, needs no label: on balanced images it measures how evenly the classes are predicted.

    Args:
        layer: A trained classifier without a background class; its ``alpha`` and mode do not change.
        features: (N, D), a tensor or an array, in memory or mapped.
        labels: (N,), likewise.
        alphas: Values of the trade-off.
        metric: Metric with the class counts and shot groups.

    Returns:
        One dictionary per alpha with ``alpha``, ``normalizer``, ``entropy`` and the keys of :class:`ShotAccuracy`.

    Raises:
        ValueError: An alpha that is negative or not finite.
        RuntimeError: An alpha above 0 for a layer without a head direction.
    """
    labels = np.asarray(labels)
    numbers = [_as_number(layer, alpha) for alpha in alphas]
    predictions = np.empty((len(numbers), len(labels)), dtype=np.int64)
    total_probs = torch.zeros(len(numbers), layer.out_features)
    with _inferring(layer, layer.alpha):
        for rows, chunk in _chunks(layer, features):
            total_effect, head_effect = (logits.cpu() for logits in layer.effects(chunk))
            for index, alpha in enumerate(numbers):
                logits = torch.sub(total_effect, head_effect, alpha=alpha)
                predictions[index, rows] = logits.numpy().argmax(-1)  # several times as fast as PyTorch's
                total_probs[index] += logits.softmax(-1).sum(0)

    points: List[Point] = []
    for alpha, predicted, probs in zip(numbers, predictions, total_probs):
        entropy = float(torch.special.entr(probs / len(labels)).sum())
        points.append({'alpha': alpha, 'normalizer': layer.normalizer, 'entropy': entropy,
                       **metric.compute_metrics(np.stack([labels, predicted], 1))})
    return points


def predict(layer: TDELinear, features: Array, alpha: Alpha) -> np.ndarray:
    """Return the classes (N,) that ``layer`` predicts with ``alpha`` for features (N, D)."""
    return np.concatenate([probs.argmax(-1).numpy() for probs in iterate_probs(layer, features, alpha)])


@torch.no_grad()
def iterate_probs(layer: TDELinear, features: Array, alpha: Alpha) -> Iterator[Tensor]:
    """Yield the class probabilities (n, C) of ``layer`` with ``alpha`` for features (N, D), chunk by chunk."""
    with _inferring(layer, alpha):
        for _, chunk in _chunks(layer, features):
            yield layer(chunk).softmax(-1).cpu()


@contextlib.contextmanager
def _inferring(layer: TDELinear, alpha: Alpha) -> Iterator[None]:
    """Put the layer into evaluation mode with ``alpha``, and restore it afterwards."""
    before = layer.alpha, layer.training
    layer.eval().alpha = check_alpha(alpha)
    try:
        yield
    finally:
        layer.alpha = before[0]
        layer.train(before[1])


def _as_number(layer: TDELinear, alpha: Alpha) -> float:
    with _inferring(layer, alpha):
        return 0. if layer.alpha == 0 else layer.resolved_alpha()


def _chunks(layer: TDELinear, features: Array) -> Iterator[Tuple[slice, Tensor]]:
    """Yield slices of features (N, D) and their content, on the layer's device."""
    for start in range(0, len(features), CHUNK):
        rows = slice(start, start + CHUNK)
        # A copy, because PyTorch warns of read-only arrays mapped from disk
        yield rows, torch.tensor(np.asarray(features[rows], dtype=np.float32), device=layer.weight.device)
