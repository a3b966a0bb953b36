"""Sweeps of alpha and other corrections of the logits, over stored features."""
import contextlib
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from mmcausal.checks import check_number
from mmcausal.class_prior import check_class_counts, log_prior
from mmcausal.evaluation import ShotAccuracy
from mmcausal.models.layers import Alpha, DeconfoundLinear, TDELinear, check_alpha
from mmcausal.models.layers.decoupled_linears import check_exponent
from mmcausal.models.layers.logit_adjusted_linears import LogitAdjustment

CHUNK = 1024  # images at a time, so that their logits stay in the cache from one alpha to the next
Array = Union[np.ndarray, Tensor, Sequence[int]]
Point = Dict[str, Union[float, str, List[float]]]


class Correction(NamedTuple):
    r"""Correction of a trained classifier's logits, without another training.

    .. math:: (z_i - \alpha h_i) / \|w_i\|^{e} - \tau \log \pi_i

    with the total effect z, the head effect h (second term of Eq. 8), class weights w and class prior :math:`\pi`.

    Args:
        alpha: Trade-off of TDE.
        exponent: e of tau-normalisation (Kang et al., ICLR 2020), in [0, 1]; above 0, the bias is left out.
        tau: Strength of logit adjustment (Menon et al., ICLR 2021), not negative.
    """
    alpha: Alpha = 0.
    exponent: float = 0.
    tau: float = 0.


NO_ACCURACIES = (*Correction._fields, 'normalizer', 'entropy', 'classwise')  # in the points of a sweep


def sweep_alpha(layer: TDELinear, features: Array, labels: Array, alphas: Iterable[Alpha],
                metric: ShotAccuracy) -> List[Point]:
    """Compute accuracy in percent and entropy of the mean prediction for each alpha; see :func:`sweep_corrections`."""
    return sweep_corrections(layer, features, labels, map(Correction, alphas), metric)


@torch.no_grad()
def sweep_corrections(layer: TDELinear, features: Array, labels: Array, corrections: Iterable[Correction],
                      metric: ShotAccuracy) -> List[Point]:
    """Compute accuracy in percent and entropy of the mean prediction for each correction of the logits.

    Total effect and head effect are computed once for all. The entropy, in nats, needs no label: on balanced images it
    measures how evenly the classes are predicted.

    Args:
        layer: A trained classifier without a background class; its ``alpha`` and mode do not change.
        features: (N, D), a tensor or an array, in memory or mapped.
        labels: (N,), likewise.
        corrections: Corrections to evaluate.
        metric: Metric with the class counts and shot groups. Its counts are the class prior of logit adjustment.

    Returns:
        One dictionary per correction with ``alpha``, ``exponent``, ``tau``, ``normalizer``, ``entropy`` and the keys of
        :class:`ShotAccuracy`.

    Raises:
        ValueError: Another number of labels than features, features that are not finite, a value out of range, a
            correction that the layer already applies, or logit adjustment with a class
            that has no training image.
        RuntimeError: An alpha above 0 for a layer without a head direction.
    """
    labels = np.asarray(labels)
    if labels.shape != (len(features), ):
        raise ValueError(f'labels must be one for each of {len(features)} features, but got shape {labels.shape}')
    corrections = [check_correction(layer, correction) for correction in corrections]
    adjusts = any(correction.tau for correction in corrections)
    counts = check_class_counts(metric.counts().tolist(), layer.out_features) if adjusts else None
    prior = 0. if counts is None else log_prior(counts).float()
    predictions = np.empty((len(corrections), len(labels)), dtype=np.int64)
    total_probs = torch.zeros(len(corrections), layer.out_features)
    with _inferring(layer, layer.alpha):
        weight_norm = layer.weight.norm(dim=1).clamp(min=1e-12).cpu()
        bias = 0. if layer.bias is None else layer.bias.cpu()
        for rows, chunk in _chunks(layer, features):
            total_effect, head_effect = (logits.cpu() for logits in layer.effects(chunk))
            for index, (alpha, exponent, tau) in enumerate(corrections):
                logits = torch.sub(total_effect, head_effect, alpha=float(alpha))
                if exponent:
                    logits = (logits - bias) / weight_norm**exponent
                if tau:
                    logits = logits - tau * prior
                predictions[index, rows] = logits.numpy().argmax(-1)  # several times as fast as PyTorch's
                total_probs[index] += logits.softmax(-1).sum(0)

    points: List[Point] = []
    for correction, predicted, probs in zip(corrections, predictions, total_probs):
        entropy = float(torch.special.entr(probs / len(labels)).sum())
        points.append({**correction._asdict(), 'normalizer': layer.normalizer, 'entropy': entropy,
                       **metric.compute_metrics(np.stack([labels, predicted], 1))})
    return points


def check_correction(layer: TDELinear, correction: Correction) -> Correction:
    """Check that ``layer`` supports ``correction``, and return it with numbers alone.

    Raises:
        ValueError: A value out of range, or a correction that the layer already applies.
        RuntimeError: An alpha above 0 for a layer without a head direction.
    """
    alpha, exponent, tau = correction
    exponent, tau = check_exponent(exponent), check_number('tau', tau, '[0, inf)')
    is_plain = type(layer) in (TDELinear, DeconfoundLinear) and layer.normalizer == 'linear'
    if exponent and not is_plain:
        raise ValueError(f'exponent must be 0 unless the classifier is plainly linear, but got {exponent!r} for a '
                         f'{type(layer).__name__} with the normalizer {layer.normalizer!r}')
    if tau and isinstance(layer, LogitAdjustment):
        raise ValueError(f'tau must be 0 for a {type(layer).__name__}, which has its own, but got {tau!r}')
    return Correction(_as_number(layer, alpha), exponent, tau)


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
        return layer.resolved_alpha()


def _chunks(layer: TDELinear, features: Array) -> Iterator[Tuple[slice, Tensor]]:
    """Yield slices of features (N, D) and their content, on the layer's device.

    Raises:
        ValueError: A feature that is not finite.
    """
    for start in range(0, len(features), CHUNK):
        rows = slice(start, start + CHUNK)
        # A copy, because PyTorch warns of read-only arrays mapped from disk
        chunk = torch.tensor(np.asarray(features[rows], dtype=np.float32), device=layer.weight.device)
        if not chunk.isfinite().all():
            raise ValueError(f'features must be finite, but some of images {start} to {start + len(chunk) - 1} are nan '
                             'or infinite')
        yield rows, chunk
