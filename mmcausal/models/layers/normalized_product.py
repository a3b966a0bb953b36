"""Logits of normalised features and class weights, one block of classes at a time.

A training step of a linear layer is three matrix products. What normalisation adds should stay in the caches of the
processor: the weights of a block of classes are normalised, multiplied and forgotten, and the backward pass normalises
them again. So nothing but lengths is kept from the forward to the backward pass, and a step needs the memory of a
linear layer and of one block.
"""
from functools import partial
from typing import Any, Callable, Iterator, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from mmcausal import functional
from mmcausal.models.layers.tracing import is_traced, is_transformed

Factor = Callable[[Tensor], Tensor]  # of the lengths of heads (N, K, 1): what the heads are multiplied with
# Numbers in a block: as many as fit into the cache of a CPU, 1.5 MB in float32, or keep a GPU busy
BLOCK_SIZES = {'cpu': 3 * 2**17}
OTHER_BLOCK_SIZE = 2**25


@functional.full_precision
def deconfounded_logits(x: Tensor, weight: Tensor, num_heads: int, tau: float, gamma: float,
                        normalizer: str) -> Tensor:
    """Same as :func:`mmcausal.functional.deconfounded_logits`, except that its gradient needs less time and memory.

    Compilers and exporters, which fuse operations themselves, see the plain function; so do ``torch.func`` and forward-
    mode differentiation.
    """
    if is_traced() or is_transformed():
        return functional.deconfounded_logits(x, weight, num_heads, tau, gamma, normalizer)
    functional.check_product(x, weight, num_heads, tau, gamma, normalizer)
    if functional.NORMALIZERS[normalizer][:2] == (None, None):
        return torch.nn.functional.linear(x, weight)
    return NormalizedProduct.apply(x, weight, functional.Hyperparameters(num_heads, tau, gamma, normalizer))


class NormalizedProduct(torch.autograd.Function):
    """Product (N, C) of features (N, D) and class weights (C, D), each head times a factor that its length yields."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, hyperparameters: functional.Hyperparameters) -> Tensor:
        lengths, weight_lengths = (_lengths(each, hyperparameters.num_heads) for each in (x, weight))
        ctx.save_for_backward(x, weight, lengths, weight_lengths)
        ctx.hyperparameters = hyperparameters
        feature_factor, weight_factor = _factors(hyperparameters)
        logits = x.new_empty(len(x), len(weight))
        features = _scaled(x, feature_factor(lengths), torch.empty_like(x))
        factor, buffer = weight_factor(weight_lengths), _buffer(weight)
        for rows in _blocks(weight, buffer):
            torch.mm(features, _scaled(weight[rows], factor[rows], buffer).t(), out=logits[:, rows])
        return logits

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Optional[Tensor], Optional[Tensor], None]:
        x, weight, lengths, weight_lengths = ctx.saved_tensors
        needs_x, needs_weight = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled() or is_transformed():  # the gradient of this gradient is wanted, or many at once
            inputs = [each for each, is_needed in ((x, needs_x), (weight, needs_weight)) if is_needed]
            with torch.enable_grad():
                product = functional.deconfounded_logits(x, weight, *ctx.hyperparameters)
                grads = iter(torch.autograd.grad(product, inputs, grad, create_graph=torch.is_grad_enabled()))
            return (next(grads) if needs_x else None, next(grads) if needs_weight else None, None)
        buffer = _buffer(weight)
        scale, weight_scale = map(_scale, _factors(ctx.hyperparameters), (lengths, weight_lengths))
        grad_x = grad_weight = None
        if needs_weight:
            features = _scaled(x, scale.factor, torch.empty_like(x))
            grad_weight = torch.empty_like(weight)
            for rows in _blocks(weight, buffer):
                torch.mm(grad[:, rows].t(), features, out=grad_weight[rows])
                _scale_gradient(grad_weight[rows], weight[rows], weight_scale.of(rows), buffer)
            del features  # before there is a gradient of the same size
        if needs_x:
            grad_x = torch.empty_like(x) if len(weight) else torch.zeros_like(x)
            for rows in _blocks(weight, buffer):
                weights = _scaled(weight[rows], weight_scale.factor[rows], buffer)
                grad_x.addmm_(grad[:, rows], weights, beta=min(rows.start, 1))  # the first block is the first term
            for rows in _blocks(x, buffer):
                _scale_gradient(grad_x[rows], x[rows], scale.of(rows), buffer)
        return grad_x, grad_weight, None


def _factors(hyperparameters: functional.Hyperparameters) -> Tuple[Factor, Factor]:
    """Return the factors of features and of weights, as functions of their lengths."""
    return (partial(functional.feature_factor, normalizer=hyperparameters.normalizer),
            partial(functional.weight_factor, **hyperparameters._asdict()))


def _buffer(weight: Tensor) -> Tensor:
    """Return room for a block of weights. One for all blocks saves the page faults of fresh memory."""
    length = max(BLOCK_SIZES.get(weight.device.type, OTHER_BLOCK_SIZE) // weight.shape[1], 1)
    return weight.new_empty(min(length, max(len(weight), 1)), weight.shape[1])


def _blocks(vectors: Tensor, buffer: Tensor) -> Iterator[slice]:
    """Yield the rows of vectors (N, D) that fit into the buffer, again and again."""
    for start in range(0, len(vectors), len(buffer)):
        yield slice(start, start + len(buffer))


def _heads(vectors: Tensor, num_heads: int) -> Tensor:
    return vectors.unflatten(1, (num_heads, -1))


def _lengths(vectors: Tensor, num_heads: int) -> Tensor:
    return torch.linalg.vector_norm(_heads(vectors, num_heads), dim=-1, keepdim=True)


def _scaled(vectors: Tensor, factor: Tensor, out: Tensor) -> Tensor:
    """Write vectors (N, D), each head times its factor, into the first rows of ``out`` (M, D); return these."""
    out, num_heads = out[:len(vectors)], factor.shape[1]
    torch.mul(_heads(vectors, num_heads), factor, out=_heads(out, num_heads))
    return out


class _Scale(NamedTuple):
    """What vectors are multiplied with, its derivative over their lengths, and one over these; all (N, K, 1)."""
    factor: Tensor
    slope: Tensor
    to_unit: Tensor

    def of(self, rows: slice) -> '_Scale':
        return _Scale(*(each[rows] for each in self))


def _scale(factor: Factor, lengths: Tensor) -> _Scale:
    to_unit = lengths.masked_fill(lengths == 0, 1).reciprocal()  # the length of zero has no gradient
    lengths = lengths.detach().requires_grad_()
    with torch.enable_grad():
        values = factor(lengths)
        if not values.requires_grad:  # a part of the normaliser that is 1
            return _Scale(values, torch.zeros_like(values), to_unit)
        slope, = torch.autograd.grad(values.sum(), lengths)
    return _Scale(values.detach(), slope, to_unit)


def _scale_gradient(grad: Tensor, vectors: Tensor, scale: _Scale, buffer: Tensor) -> None:
    """Turn the gradient of scaled vectors (N, D) into one of the vectors, in place."""
    num_heads = scale.factor.shape[1]
    grad, vectors, buffer = (_heads(each[:len(grad)], num_heads) for each in (grad, vectors, buffer))
    along = torch.mul(grad, vectors, out=buffer).sum(-1, keepdim=True)
    along.mul_(scale.slope).mul_(scale.to_unit)  # in this order: slope * to_unit of short vectors would overflow
    grad.mul_(scale.factor).addcmul_(vectors, along)
