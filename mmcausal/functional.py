r"""The paper in one file: de-confounded training, head direction, Total Direct Effect, background exemption.

Source: Tang, Huang, Zhang, *Long-Tailed Classification by Keeping the Good and Removing the Bad Momentum Causal
Effect*, NeurIPS 2020 (arXiv 2009.12991). Equation numbers below are the paper's. Only PyTorch is needed.

Shapes::

    N samples, D feature channels, C classes, K heads: D is split into K equal groups, x = [x^1, ..., x^K]

    x               (N, D)  input of the classifier
    weight          (C, D)  weight of the classifier, which has no bias
    mean_feature    (D,)    moving average of x over training
    head_direction  (D,)    direction of mean_feature, with unit length in each group
    *_logits        (N, C)  (N, C + 1) with a background class

Every classifier of the paper is the scaled sum over heads of :math:`\langle w^k, x^k \rangle / N(x^k, w^k)`, where the
normaliser N is a product of a feature part and a weight part. So each is *one* matrix product of normalised features
and normalised weights, and its counterfactual is the same product with the features projected on the head direction.

Half-precision inputs are computed and returned in float32, inside autocast too: near 16, a bfloat16 logit moves in
steps of 1/16.
"""
import contextlib
import functools
import inspect
from typing import Any, Callable, ContextManager, Dict, NamedTuple, Optional, Tuple, TypeVar, cast

import torch
from torch import Tensor

from mmcausal.checks import check_choice, check_integer, check_number, is_integer

__all__ = [
    'NORMALIZERS', 'Hyperparameters', 'Normalizer', 'background_exempt', 'check_hyperparameters',
    'deconfounded_logits', 'effects', 'folded_weight', 'head_direction', 'head_effect', 'mean_cosine',
    'normalized_features', 'total_direct_effect', 'unit_heads', 'update_moving_average'
]

_Function = TypeVar('_Function', bound=Callable[..., Any])
_Value = TypeVar('_Value')


def _length(v: Tensor) -> Tensor:
    """Return the Euclidean length over the last dimension, which is kept; the gradient at zero is zero."""
    return torch.linalg.vector_norm(v, dim=-1, keepdim=True)


class Normalizer(NamedTuple):
    """Normaliser N(x, w) of one head: ``feature(length of x) * weight(length of w, gamma)``.

    ``None`` is a part that is 1. ``parameters`` lists the hyper-parameters that change logits or head direction.
    """
    feature: Optional[Callable[[Tensor], Tensor]]
    weight: Optional[Callable[[Tensor, float], Tensor]]
    parameters: Tuple[str, ...] = ('num_heads', 'tau', 'gamma')


NORMALIZERS: Dict[str, Normalizer] = {
    'linear': Normalizer(None, None, ('num_heads', )),
    'cosine': Normalizer(lambda length: length, lambda length, gamma: length, ('num_heads', 'tau')),
    'capsule': Normalizer(lambda length: length + 1, lambda length, gamma: length, ('num_heads', 'tau')),
    'deconfound': Normalizer(lambda length: length, lambda length, gamma: length + gamma),
}


class Hyperparameters(NamedTuple):
    """Last arguments of the functions below, in their order: ``deconfounded_logits(x, weight, *hyperparameters)``."""
    num_heads: int = 2
    tau: float = 16.
    gamma: float = 1 / 32
    normalizer: str = 'deconfound'


def check_hyperparameters(channels: int, num_heads: int, tau: float, gamma: float, normalizer: str) -> None:
    """Raise ``ValueError`` unless K, tau, gamma and the normaliser make a classifier on ``channels`` channels."""
    _check_num_heads(channels, num_heads)
    check_number('tau', tau, '(0, inf)')
    check_number('gamma', gamma, '[0, inf)')
    check_choice('normalizer', normalizer, NORMALIZERS)


def _check_num_heads(channels: int, num_heads: int) -> None:
    check_integer('num_heads', num_heads, 1)
    if not channels or channels % num_heads:
        raise ValueError(f'num_heads must divide the number of feature channels, but {channels} channels do not split '
                         f'into {num_heads} equal heads')


def without_autocast(device: torch.device) -> ContextManager[Any]:
    """Return a context in which products are as precise as their factors."""
    has_autocast = device.type in ('cpu', 'cuda', 'xpu')
    return torch.autocast(device.type, enabled=False) if has_autocast else contextlib.nullcontext()


def in_full_precision(value: _Value) -> _Value:
    """Return a tensor in at least float32, and anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    return cast(_Value, value.to(torch.promote_types(value.dtype, torch.float32)))


def full_precision(function: _Function) -> _Function:
    """Run ``function`` in at least float32, whatever autocast or half-precision inputs ask for."""
    names = tuple(inspect.signature(function).parameters)
    tensors = [name for name in names if function.__annotations__[name] is Tensor]

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(names, args)), **kwargs}
        for name in tensors:
            if name in given and not isinstance(given[name], Tensor):
                raise ValueError(f'{name} must be a tensor, but got {given[name]!r}')
        with without_autocast(given[tensors[0]].device if tensors[0] in given else torch.device('cpu')):
            return function(*map(in_full_precision, args),
                            **{name: in_full_precision(value) for name, value in kwargs.items()})

    return cast(_Function, wrapper)


def _heads(v: Tensor, num_heads: int) -> Tensor:
    """Reshape (..., D) to (..., K, D / K)."""
    return v.reshape(*v.shape[:-1], num_heads, v.shape[-1] // num_heads)  # older ONNX has no unflatten


def _reciprocal(norm: Tensor) -> Tensor:
    """Return ``1 / norm``, or 1 where the norm is zero: a zero vector stays zero and has a bounded gradient."""
    return norm.masked_fill(norm == 0, 1).reciprocal()


def check_product(x: Tensor, weight: Tensor, num_heads: int, tau: float, gamma: float, normalizer: str) -> None:
    """Raise ``ValueError`` unless features (N, D) and weights (C, D) have logits with these hyper-parameters."""
    if x.dim() != 2 or weight.dim() != 2 or x.shape[1] != weight.shape[1]:
        raise ValueError('x and weight must have shapes (N, D) and (C, D) with the same number of channels D, but got '
                         f'{tuple(x.shape)} and {tuple(weight.shape)}')
    check_hyperparameters(x.shape[1], num_heads, tau, gamma, normalizer)


def feature_factor(length: Tensor, normalizer: str) -> Tensor:
    """Return what features are multiplied with, from the lengths of their heads (N, K, 1): 1 over their part of N."""
    part = NORMALIZERS[normalizer].feature
    return torch.ones_like(length) if part is None else _reciprocal(part(length))


def weight_factor(length: Tensor, num_heads: int, tau: float, gamma: float, normalizer: str) -> Tensor:
    """Return what weights are multiplied with, from the lengths of their heads (C, K, 1): tau / K over their part."""
    _, part, parameters = NORMALIZERS[normalizer]
    scale = tau / num_heads if 'tau' in parameters else 1.
    return torch.full_like(length, scale) if part is None else scale * _reciprocal(part(length, gamma))


def _normalize(x: Tensor, weight: Tensor, num_heads: int, tau: float, gamma: float,
               normalizer: str) -> Tuple[Tensor, Tensor]:
    """Return features (N, K, D/K) and scaled weights (C, K, D/K), each divided by its part of the normaliser."""
    check_product(x, weight, num_heads, tau, gamma, normalizer)
    return _normalize_features(x, num_heads, normalizer), _normalize_weights(weight, num_heads, tau, gamma, normalizer)


def _normalize_features(x: Tensor, num_heads: int, normalizer: str) -> Tensor:
    heads = _heads(x, num_heads)
    if NORMALIZERS[normalizer].feature is None:
        return heads
    return heads * feature_factor(_length(heads), normalizer)


def _normalize_weights(weight: Tensor, num_heads: int, tau: float, gamma: float, normalizer: str) -> Tensor:
    heads = _heads(weight, num_heads)
    return heads * weight_factor(_length(heads), num_heads, tau, gamma, normalizer)


def _directions(mean_feature: Tensor, heads: Tensor) -> Tensor:
    """Return the head direction (K, D/K) for features or weights (..., K, D/K)."""
    channels = heads.shape[-2] * heads.shape[-1]
    if mean_feature.shape != (channels, ):
        raise ValueError(f'mean_feature must have one value for each of {channels} channels, but got shape '
                         f'{tuple(mean_feature.shape)}')
    direction = mean_feature.reshape(heads.shape[-2:])
    return direction * _reciprocal(_length(direction))


def _counterfactual(features: Tensor, weights: Tensor, mean_feature: Tensor) -> Tensor:
    """Return the head effect (N, C) of normalised features (N, K, D/K) and weights (C, K, D/K)."""
    direction = _directions(mean_feature, features)
    # The projections of all samples lie in K lines: (N, K) times (K, C) is much less than (N, D) times (D, C).
    return (features * direction).sum(-1) @ (weights * direction).sum(-1).t()


def _logits(features: Tensor, weights: Tensor) -> Tensor:
    return features.flatten(-2) @ weights.flatten(-2).t()


@full_precision
def deconfounded_logits(x: Tensor, weight: Tensor, num_heads: int = 2, tau: float = 16., gamma: float = 1 / 32,
                        normalizer: str = 'deconfound') -> Tensor:
    r"""Compute the multi-head de-confounded logits, the total effect (Eq. 7).

    .. math:: z_i = \frac{\tau}{K} \sum_k \frac{\langle w_i^k, x^k \rangle}{(\|w_i^k\| + \gamma) \|x^k\|}

    Args:
        x: Features (N, D).
        weight: Classifier weight (C, D).
        num_heads: K, which divides D.
        tau: Inverse temperature, positive.
        gamma: Class-agnostic energy, not negative.
        normalizer: ``'deconfound'``; ``'cosine'``, with :math:`\|x\| \|w\|`; ``'capsule'``, with
            :math:`(\|x\| + 1) \|w\|`; or ``'linear'``, the plain inner product (K and tau do not change it).

    Returns:
        Logits (N, C). A zero feature has zero logits.

    Raises:
        ValueError: Channels that differ or do not split into K heads; tau, gamma or normaliser out of range.

    >>> x, weight = torch.tensor([[3., 4.]]), torch.tensor([[6., 8.], [-8., 6.]])
    >>> deconfounded_logits(x, weight, num_heads=1, tau=16., gamma=0.)
    tensor([[16.,  0.]])
    """
    return _logits(*_normalize(x, weight, num_heads, tau, gamma, normalizer))


def unit_heads(x: Tensor, num_heads: int = 2) -> Tensor:
    """Divide each head of x (..., D) by its length; a head that is zero stays zero.

    >>> unit_heads(torch.tensor([3., 4., 0., 0.]), num_heads=2)
    tensor([0.6000, 0.8000, 0.0000, 0.0000])
    """
    return normalized_features(x, num_heads, 'cosine')


@full_precision
def sums_of_heads(x: Tensor, num_heads: int = 2) -> Tensor:
    """Return the sums over samples (2, D) of features x (N, D), and of these with each head at unit length.

    Both are products with x itself, so no normalised copy of it is made.

    >>> sums_of_heads(torch.tensor([[3., 4.], [0., 2.]]), num_heads=1)
    tensor([[3.0000, 6.0000],
            [0.6000, 1.8000]])
    """
    heads = _heads(x, num_heads)
    factors = _reciprocal(_length(heads))
    weights = torch.cat([torch.ones_like(factors), factors], dim=-1)  # (N, K, 2)
    sums = weights.permute(1, 2, 0) @ heads.transpose(0, 1)  # (K, 2, D / K)
    return sums.transpose(0, 1).flatten(1)


@full_precision
def head_direction(mean_feature: Tensor, num_heads: int = 2) -> Tensor:
    """Return the head direction (D,): the mean feature (D,) with each head at unit length, or zero if it is zero.

    >>> head_direction(torch.tensor([0., 5., 0., 0.]), num_heads=2)
    tensor([0., 1., 0., 0.])
    """
    return unit_heads(mean_feature, num_heads)


@full_precision
def mean_cosine(x: Tensor, mean_feature: Tensor, num_heads: int = 2) -> Tensor:
    """Return the mean of cos(x^k, d^k) over samples and heads, by which alpha is chosen without data; 0 for N = 0.

    >>> mean_cosine(torch.tensor([[1., 0.], [0., 1.]]), torch.tensor([1., 0.]), num_heads=1)
    tensor(0.5000)
    """
    units = _heads(unit_heads(x, num_heads), num_heads)
    cosines = (units * _directions(mean_feature, units)).sum(-1)
    return cosines.sum() / max(cosines.numel(), 1)


@full_precision
def head_effect(x: Tensor, weight: Tensor, mean_feature: Tensor, num_heads: int = 2, tau: float = 16.,
                gamma: float = 1 / 32, normalizer: str = 'deconfound') -> Tensor:
    r"""Compute the effect of the head direction alone: the second term of Eq. 8, without alpha.

    .. math:: \frac{\tau}{K} \sum_k \cos(x^k, \hat d^k) \frac{\langle w_i^k, \hat d^k \rangle}{\|w_i^k\| + \gamma}

    The counterfactual keeps the normaliser of the real x: only the x in the numerator becomes its projection on the
    head direction. Arguments and errors as in :func:`deconfounded_logits`; ``mean_feature`` must have shape (D,).

    Returns:
        Logits (N, C), zero where the mean feature is zero.

    >>> x, weight = torch.tensor([[3., 4.]]), torch.tensor([[6., 8.], [-8., 6.]])
    >>> head_effect(x, weight, torch.tensor([2., 0.]), num_heads=1, tau=1., gamma=0.)
    tensor([[ 0.3600, -0.4800]])
    """
    return _counterfactual(*_normalize(x, weight, num_heads, tau, gamma, normalizer), mean_feature)


@full_precision
def effects(x: Tensor, weight: Tensor, mean_feature: Tensor, num_heads: int = 2, tau: float = 16.,
            gamma: float = 1 / 32, normalizer: str = 'deconfound') -> Tuple[Tensor, Tensor]:
    """Compute total effect and head effect, both (N, C), from one normalisation; arguments as in :func:`head_effect`.

    >>> x, weight = torch.tensor([[3., 4.]]), torch.tensor([[6., 8.], [-8., 6.]])
    >>> effects(x, weight, torch.tensor([2., 0.]), num_heads=1, tau=1., gamma=0.)
    (tensor([[1., 0.]]), tensor([[ 0.3600, -0.4800]]))
    """
    features, weights = _normalize(x, weight, num_heads, tau, gamma, normalizer)
    return _logits(features, weights), _counterfactual(features, weights, mean_feature)


def total_direct_effect(x: Tensor, weight: Tensor, mean_feature: Tensor, alpha: float, num_heads: int = 2,
                        tau: float = 16., gamma: float = 1 / 32, normalizer: str = 'deconfound') -> Tensor:
    """Compute the Total Direct Effect (Eq. 8): the total effect less ``alpha`` times the effect of the head direction.

    It costs O(N K (C + D)) beside the matrix product. Arguments and errors as in :func:`head_effect`; ``alpha = 0`` is
    the total effect.

    Returns:
        Logits (N, C).

    >>> x, weight = torch.tensor([[3., 4.]]), torch.tensor([[6., 8.], [-8., 6.]])
    >>> total_direct_effect(x, weight, torch.tensor([2., 0.]), alpha=1., num_heads=1, tau=1., gamma=0.)
    tensor([[0.6400, 0.4800]])
    """
    check_number('alpha', alpha, '(-inf, inf)')
    total, head = effects(x, weight, mean_feature, num_heads, tau, gamma, normalizer)
    return torch.sub(total, head, alpha=alpha)


@full_precision
def normalized_features(x: Tensor, num_heads: int = 2, normalizer: str = 'deconfound') -> Tensor:
    """Divide each head of features (N, D) by the feature part of the normaliser: the input of the matrix product.

    Raises:
        ValueError: An unknown normaliser, or channels that do not split into ``num_heads``.

    >>> normalized_features(torch.tensor([[3., 4.]]), num_heads=1)
    tensor([[0.6000, 0.8000]])
    """
    _check_num_heads(x.shape[-1], num_heads)
    check_choice('normalizer', normalizer, NORMALIZERS)
    return _normalize_features(x, num_heads, normalizer).flatten(-2)


@full_precision
def folded_weight(weight: Tensor, mean_feature: Tensor, alpha: float, num_heads: int = 2, tau: float = 16.,
                  gamma: float = 1 / 32, normalizer: str = 'deconfound') -> Tensor:
    r"""Fold Eq. 8 into one weight: ``total_direct_effect(x, ...) = normalized_features(x) @ folded_weight(...).T``.

    The projection on the head direction is symmetric, so it can be subtracted from the weights once, instead of from
    every feature: at inference, TDE is as cheap as the total effect. Arguments as in :func:`total_direct_effect`.

    >>> folded_weight(torch.tensor([[6., 8.], [-8., 6.]]), torch.tensor([2., 0.]), 1., num_heads=1, tau=1., gamma=0.)
    tensor([[0.0000, 0.8000],
            [0.0000, 0.6000]])
    """
    check_hyperparameters(weight.shape[-1], num_heads, tau, gamma, normalizer)
    check_number('alpha', alpha, '(-inf, inf)')
    weights = _normalize_weights(weight, num_heads, tau, gamma, normalizer)
    direction = _directions(mean_feature, weights)
    along = (weights * direction).sum(-1, keepdim=True) * direction
    return (weights - alpha * along).flatten(-2)


@full_precision
def background_exempt(logits: Tensor, tde_logits: Tensor, background: int = -1) -> Tensor:
    r"""Compute background-exempted inference (Eq. 9): TDE among the foreground, total effect for the background.

    With :math:`p` = softmax(logits) and :math:`q` = softmax(tde_logits): :math:`P_{bg} = p_{bg}` and
    :math:`P_i = (1 - p_{bg})\, q_i / (1 - q_{bg})`. Here :math:`q_i / (1 - q_{bg})` is the softmax over the
    foreground alone and :math:`\log(1 - p_{bg})` a difference of two log-sum-exps, so nothing is divided.

    Args:
        logits: Total effect (N, C + 1).
        tde_logits: Total Direct Effect (N, C + 1).
        background: Index of the background class, the last by default.

    Returns:
        Log-probabilities (N, C + 1). Their softmax is P itself.

    Raises:
        ValueError: Shapes that differ, no foreground class, or an index out of range.

    >>> z, t = torch.tensor([[0., 0., 0.]]), torch.tensor([[0., 0., 9.]])
    >>> background_exempt(z, t).exp()
    tensor([[0.3333, 0.3333, 0.3333]])
    """
    if logits.shape != tde_logits.shape:
        raise ValueError(f'logits and tde_logits must have one shape, but got {tuple(logits.shape)} and '
                         f'{tuple(tde_logits.shape)}')
    classes = logits.shape[-1] if logits.dim() else 0
    if classes < 2 or not is_integer(background) or not -classes <= background < classes:
        raise ValueError(f'background must be the index of one of at least two classes, but got {background!r} of '
                         f'{classes}')
    background %= classes
    is_background = torch.arange(classes, device=logits.device) == background
    background_logit = logits[..., background:background + 1]
    foreground = _logsumexp_without(logits, background)
    everything = _logaddexp(foreground, background_logit)
    shift = foreground - everything - _logsumexp_without(tde_logits, background)
    return torch.where(is_background, background_logit - everything, tde_logits + shift)


def _logsumexp_without(logits: Tensor, index: int) -> Tensor:
    """Return the log-sum-exp (N, 1) over all classes but one."""
    parts = [part.logsumexp(-1, keepdim=True) for part in (logits[..., :index], logits[..., index + 1:])
             if part.shape[-1]]
    return parts[0] if len(parts) == 1 else _logaddexp(*parts)


def _logaddexp(a: Tensor, b: Tensor) -> Tensor:
    return torch.cat([a, b], dim=-1).logsumexp(-1, keepdim=True)  # ONNX has no logaddexp


@full_precision
def update_moving_average(mean_feature: Tensor, batch_mean: Tensor, momentum: float) -> Tensor:
    """Return the moving average ``momentum * mean_feature + (1 - momentum) * batch_mean``, all (D,).

    ``momentum`` weighs the *old* value, as in SGD. The paper's sum without ``1 - momentum`` has the same direction, but
    this average stays bounded.

    Raises:
        ValueError: ``momentum`` outside [0, 1).

    >>> update_moving_average(torch.tensor([1., 0.]), torch.tensor([0., 1.]), momentum=0.75)
    tensor([0.7500, 0.2500])
    """
    check_number('momentum', momentum, '[0, 1)')
    if mean_feature.shape != batch_mean.shape:
        raise ValueError(f'mean_feature and batch_mean must have one shape, but got {tuple(mean_feature.shape)} and '
                         f'{tuple(batch_mean.shape)}')
    return momentum * mean_feature + (1 - momentum) * batch_mean
