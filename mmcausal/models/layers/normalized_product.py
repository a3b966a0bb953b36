"""Logits of normalised features and class weights, one block of classes at a time.

A training step of a linear layer is three matrix products. What normalisation adds should stay in the caches of the
processor: the weights of a block of classes are normalised, multiplied and forgotten, and the backward pass normalises
them again. No copy of the class weights is kept; beside the products, a step writes one copy of the features.
"""
from functools import partial
from typing import Any, Callable, Optional, Tuple

import torch
from torch import Tensor

from mmcausal import functional
from mmcausal.models.layers.tracing import is_traced

Factor = Callable[[Tensor], Tensor]  # of the lengths of heads (N, K, 1): what the heads are multiplied with
# Numbers in a block: as many as fit into the cache of a CPU, or keep a GPU busy
BLOCK_SIZES = {'cpu': 2**20}
OTHER_BLOCK_SIZE = 2**25


@functional.full_precision
def deconfounded_logits(x: Tensor, weight: Tensor, num_heads: int, tau: float, gamma: float,
                        normalizer: str) -> Tensor:
    """Same as :func:`mmcausal.functional.deconfounded_logits`, except that its gradient needs less time and memory.

    Compilers and exporters, which fuse operations themselves, see the plain function.
    """
    if is_traced():
        return functional.deconfounded_logits(x, weight, num_heads, tau, gamma, normalizer)
    functional.check_product(x, weight, num_heads, tau, gamma, normalizer)
    if functional.NORMALIZERS[normalizer][:2] == (None, None):
        return torch.nn.functional.linear(x, weight)
    return NormalizedProduct.apply(x, weight, num_heads, partial(functional.feature_factor, normalizer=normalizer),
                                   partial(functional.weight_factor, num_heads=num_heads, tau=tau, gamma=gamma,
                                           normalizer=normalizer))


class NormalizedProduct(torch.autograd.Function):
    """Product (N, C) of features (N, D) and class weights (C, D), each head times a factor that its length yields."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, num_heads: int, feature_factor: Factor,
                weight_factor: Factor) -> Tensor:
        lengths, weight_lengths = _lengths(x, num_heads), _lengths(weight, num_heads)
        features = _scaled(x, feature_factor(lengths))
        ctx.save_for_backward(x, weight, lengths, weight_lengths, features)
        ctx.num_heads, ctx.feature_factor, ctx.weight_factor = num_heads, feature_factor, weight_factor
        logits = x.new_empty(len(x), len(weight))
        rows = _block_length(weight)
        for block, factor, columns in zip(weight.split(rows), weight_factor(weight_lengths).split(rows),
                                          logits.split(rows, dim=1)):
            torch.mm(features, _scaled(block, factor).t(), out=columns)
        return logits

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tuple[Optional[Tensor], Optional[Tensor], None, None, None]:
        x, weight, lengths, weight_lengths, features = ctx.saved_tensors
        needs_x, needs_weight = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():  # somebody wants the gradient of this gradient
            product = (_scaled(x, ctx.feature_factor(_lengths(x, ctx.num_heads)))
                       @ _scaled(weight, ctx.weight_factor(_lengths(weight, ctx.num_heads))).t())
            inputs = [each for each, is_needed in ((x, needs_x), (weight, needs_weight)) if is_needed]
            grads = iter(torch.autograd.grad(product, inputs, grad, create_graph=True))
            return (next(grads) if needs_x else None, next(grads) if needs_weight else None, None, None, None)
        factor, slope = _with_slope(ctx.weight_factor, weight_lengths)
        grad_x = torch.zeros_like(x) if needs_x else None
        grad_weight = torch.empty_like(weight) if needs_weight else None
        rows = _block_length(weight)
        for start in range(0, len(weight), rows):
            here = slice(start, start + rows)
            if grad_x is not None:
                grad_x.addmm_(grad[:, here], _scaled(weight[here], factor[here]))
            if grad_weight is not None:
                torch.mm(grad[:, here].t(), features, out=grad_weight[here])
                _scale_gradient(grad_weight[here], weight[here], factor[here], slope[here])
        if grad_x is not None:
            _scale_gradient(grad_x, x, *_with_slope(ctx.feature_factor, lengths))
        return grad_x, grad_weight, None, None, None


def _block_length(weight: Tensor) -> int:
    return max(BLOCK_SIZES.get(weight.device.type, OTHER_BLOCK_SIZE) // weight.shape[1], 1)


def _heads(vectors: Tensor, num_heads: int) -> Tensor:
    return vectors.unflatten(1, (num_heads, -1))


def _lengths(vectors: Tensor, num_heads: int) -> Tensor:
    return torch.linalg.vector_norm(_heads(vectors, num_heads), dim=-1, keepdim=True)


def _scaled(vectors: Tensor, factor: Tensor) -> Tensor:
    return (_heads(vectors, factor.shape[1]) * factor).flatten(1)


def _with_slope(factor: Factor, lengths: Tensor) -> Tuple[Tensor, Tensor]:
    """Return the factors of lengths, and their derivatives over the lengths, divided by these."""
    lengths = lengths.detach().requires_grad_()
    with torch.enable_grad():
        values = factor(lengths)
        if not values.requires_grad:  # a part of the normaliser that is 1
            return values, torch.zeros_like(values)
        slope, = torch.autograd.grad(values.sum(), lengths)
    lengths, values = lengths.detach(), values.detach()
    return values, (slope / lengths).masked_fill_(lengths == 0, 0)  # a length of zero has no gradient


def _scale_gradient(grad: Tensor, vectors: Tensor, factor: Tensor, slope: Tensor) -> None:
    """Turn the gradient of scaled vectors (N, D) into one of the vectors, in place."""
    grad, vectors = _heads(grad, factor.shape[1]), _heads(vectors, factor.shape[1])
    along = (grad * vectors).sum(-1, keepdim=True)
    grad.mul_(factor).addcmul_(vectors, along.mul_(slope))
