"""Compare time and memory of causal classifier layers with those of nn.Linear, alternating in one process.

A training step is forward and backward pass, and for the causal layer the update of the direction. Evaluation is a
forward pass without gradients, by total effect and by TDE. In bfloat16, features and nn.Linear are in bfloat16; the
causal layer computes in float32, so it is compared with an nn.Linear that does so too.

"floor" is nn.Linear with the passes over features and weights that normalisation cannot do without, if a step may not
take the memory of copies: the lengths of both, their normalised blocks in the forward and in the backward pass, and one
pass over each gradient. In evaluation, it is the lengths and the normalised blocks of the features.
"""
import json
from typing import Callable

import torch
from alternating import Functions, alternate, peak_bytes, ratios
from measurement import measurement_arguments, measurement_parser, write_measurement
from torch import Tensor, nn

from mmcausal.commands import integer_argument
from mmcausal.models import DeconfoundLinear, DetectionDeconfoundLinear
from mmcausal.models.layers.normalized_product import BLOCK_SIZES

SIZES = ((512, 2048, 1000), (1024, 1024, 1204), (1024, 1024, 13205), (256, 768, 100000))


class UpcastLinear(nn.Linear):
    """``nn.Linear`` of features in half precision that computes in float32, like the causal layers."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


def training_step(layer: nn.Module, x: Tensor, grad: Tensor) -> Callable[[], None]:
    """Return a function that runs one training step of a layer, with the gradient of the features."""
    def step() -> None:
        features = x.detach().requires_grad_()
        layer.weight.grad = None
        logits = layer(features)
        logits.backward(grad.to(logits.dtype))
        if isinstance(layer, DeconfoundLinear):
            layer.update_direction(0.9)
    return step


def evaluation(layer: nn.Module, x: Tensor, alpha: float = 0.) -> Callable[[], Tensor]:
    """Return a function that runs a forward pass without gradients."""
    def evaluate() -> Tensor:
        with torch.no_grad():
            return layer(x)
    if isinstance(layer, DeconfoundLinear):
        layer.alpha = alpha
    layer.eval()
    return evaluate


def with_passes(step: Callable[[], object], *tensors: Tensor, scalings: int) -> Callable[[], None]:
    """Return a step that also takes the lengths of two heads of each tensor, and multiplies it ``scalings`` times."""
    block_size = BLOCK_SIZES['cpu']
    blocks = [block for tensor in tensors for block in tensor.float().split(max(block_size // tensor.shape[1], 1))]
    buffer = torch.empty(max(block.numel() for block in blocks))

    def step_with_passes() -> None:
        for block in blocks:
            heads, copy = block.unflatten(1, (2, -1)), buffer[:block.numel()].view(len(block), 2, -1)
            factor = torch.linalg.vector_norm(heads, dim=-1, keepdim=True)
            for _ in range(scalings):
                torch.mul(heads, factor, out=copy)
        step()
    return step_with_passes


def layers(channels: int, classes: int, dtype: torch.dtype, num_heads: int) -> dict:
    """Return the layers to compare, the baseline first."""
    if dtype == torch.float32:
        linears = dict(linear=nn.Linear(channels, classes, bias=False))
    else:
        linears = {'linear': UpcastLinear(channels, classes, bias=False),
                   f'linear in {dtype}': nn.Linear(channels, classes, bias=False, dtype=dtype)}
    return dict(linears, deconfound=DeconfoundLinear(channels, classes, num_heads=num_heads),
                detection=DetectionDeconfoundLinear(channels, classes, num_heads=num_heads))


def trained(layer: nn.Module, x: Tensor) -> nn.Module:
    """Return a layer with a direction, if it has one."""
    if isinstance(layer, DeconfoundLinear):
        layer.observe(x.float())
        layer.update_direction(0.)
    return layer


def compare(size: tuple, dtype: torch.dtype, rounds: int, num_heads: int) -> dict:
    """Return times, ratios and memory of a size (N, D, C), with K heads."""
    samples, channels, classes = size
    torch.manual_seed(0)
    x = (torch.randn(samples, channels) + 0.5).to(dtype)
    grad = torch.randn(samples, classes) / samples
    each = {name: trained(layer, x) for name, layer in layers(channels, classes, dtype, num_heads).items()}
    training: Functions = {name: training_step(layer, x, grad) for name, layer in each.items() if name != 'detection'}
    weight = each['linear'].weight.detach()
    floor = with_passes(training['linear'], x, weight, scalings=3)
    result = dict(size=size, dtype=str(dtype), num_heads=num_heads,
                  training=ratios(alternate(dict(training, floor=floor), rounds), 'linear'))
    for name, step in training.items():
        each[name].weight.grad = None
        result['training'][name]['peak_megabytes'] = round(peak_bytes(step) / 2**20, 1)
        each[name].weight.grad = None
    tests: Functions = {name: evaluation(layer, x) for name, layer in each.items() if name != 'detection'}
    tde = trained(DeconfoundLinear(channels, classes, num_heads=num_heads), x)
    tests.update({'deconfound by TDE': evaluation(tde, x, alpha=1.),
                  'detection, background exempted': evaluation(each['detection'], x, alpha=1.),
                  'floor': with_passes(tests['linear'], x, scalings=1)})
    result['evaluation'] = ratios(alternate(tests, 2 * rounds), 'linear')
    return result


def main() -> None:
    parser = measurement_parser(__doc__, rounds=15)
    parser.add_argument('--dtypes', nargs='+', choices=('float32', 'bfloat16'), default=['float32', 'bfloat16'])
    parser.add_argument('--sizes', type=int, nargs='+', help='N D C of each size; by default four sizes')
    parser.add_argument('--num-heads', type=integer_argument(1), nargs='+', default=[2], help='K of the causal layers')
    args = measurement_arguments(parser)
    if args.sizes and len(args.sizes) % 3:
        parser.error(f'--sizes must be N D C of each size, but got {len(args.sizes)} numbers')
    numbers = iter(args.sizes or sum(SIZES, ()))
    results = []
    for size in zip(numbers, numbers, numbers):
        for dtype in args.dtypes:
            for num_heads in args.num_heads:
                results.append(compare(size, getattr(torch, dtype), args.rounds, num_heads))
                print(json.dumps(results[-1]), flush=True)
    write_measurement(args, results=results)


if __name__ == '__main__':
    main()
