"""Tell what bounds the training of a network: the rate of each kind of layer, beside the best rate of this machine.

Each layer of the backbone runs forward and backward by itself, in bfloat16, on random input of the shape and memory
format that it has in a training step of CIFAR images. Convolutions are beside a product of two matrices of 1024 x 1024,
in operations; other layers beside a copy of their input, in bytes: an input read and an output written in the forward
pass, two inputs read and one written in the backward pass. A step of the whole network takes more: it also adds
residuals, and its layers find their inputs outside the cache.
"""
import json
from pathlib import Path
from typing import Dict, List, NamedTuple

import torch
from alternating import alternate
from measurement import measurement_arguments, measurement_parser, write_measurement
from torch import Tensor, nn

from mmcausal.commands import integer_argument
from mmcausal.config_files import read_config
from mmcausal.registry import MODELS

CONFIG = Path(__file__).resolve().parents[1] / 'configs' / 'cifar100_lt' / 'deconfound_r32_ir100.py'


class Use(NamedTuple):
    """A layer in a network, and the input that it gets."""
    layer: nn.Module
    x: Tensor

    @property
    def key(self) -> str:
        """The layers of one key do the same work."""
        return f'{self.layer} of {tuple(self.x.shape)}'


def uses_of(backbone: nn.Module, images: Tensor) -> List[Use]:
    """Return the layers with numbers of a backbone, in the order of its forward pass."""
    uses: List[Use] = []
    layers = [each for each in backbone.modules() if isinstance(each, (nn.Conv2d, nn.BatchNorm2d, nn.ReLU))]
    handles = [each.register_forward_pre_hook(lambda layer, args: uses.append(Use(layer, args[0].detach().clone())))
               for each in layers]
    backbone(images)
    for handle in handles:
        handle.remove()
    return uses


def work_of(use: Use, output: Tensor) -> float:
    """Return the operations of a convolution, or the bytes of another layer, forward and backward."""
    if isinstance(use.layer, nn.Conv2d):
        weight = use.layer.weight
        is_first = use.x.shape[1] == 3  # images need no gradient
        return (2 if is_first else 3) * 2 * weight[0].numel() * output.numel()
    return 5 * output.numel() * output.element_size()


def rates(use: Use, rounds: int) -> Dict[str, float]:
    """Return the seconds of a layer, and its rate as a share of the best of this machine."""
    x = use.x.requires_grad_(use.x.shape[1] != 3)
    inputs = [each for each in (x, *use.layer.parameters()) if each.requires_grad]
    layer = nn.ReLU() if isinstance(use.layer, nn.ReLU) else use.layer  # in place, it would change the input
    grad = torch.randn_like(layer(x))

    def run() -> None:
        torch.autograd.grad(layer(x), inputs, grad)
    if isinstance(layer, nn.Conv2d):
        matrix = torch.randn(1024, 1024, dtype=x.dtype)
        best, work_of_best = (lambda: matrix @ matrix), 2 * 1024**3
    else:
        copy = torch.empty_like(x)
        best, work_of_best = (lambda: copy.copy_(x.detach())), 2 * x.numel() * x.element_size()
    seconds = alternate(dict(layer=run, best=best), rounds)
    layer_seconds, best_seconds = (float(torch.tensor(seconds[name]).median()) for name in ('layer', 'best'))
    return dict(seconds=layer_seconds, at_best=work_of(use, grad) * best_seconds / work_of_best)


def main() -> None:
    parser = measurement_parser(__doc__, rounds=15)
    parser.add_argument('--config', type=Path, default=CONFIG)
    parser.add_argument('--batch-size', type=integer_argument(1), default=256)
    args = measurement_arguments(parser)
    torch.manual_seed(0)
    backbone = MODELS.build(read_config(args.config).model.backbone).to(torch.bfloat16,
                                                                        memory_format=torch.channels_last)
    for layer in backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.float()  # as under autocast
    images = torch.randn(args.batch_size, 3, 32, 32, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    measured: Dict[str, Dict[str, float]] = {}
    kinds: Dict[str, Dict[str, float]] = {}
    for use in uses_of(backbone, images):
        if use.key not in measured:
            measured[use.key] = rates(use, args.rounds)
        kind = kinds.setdefault(type(use.layer).__name__, dict(layers=0, milliseconds=0., at_best=0.))
        kind['layers'] += 1
        kind['milliseconds'] += 1000 * measured[use.key]['seconds']
        kind['at_best'] += 1000 * measured[use.key]['at_best']
    result = {name: {key: round(value, 1) for key, value in kind.items()} for name, kind in kinds.items()}
    for name, kind in result.items():
        print(json.dumps({name: kind}), flush=True)
    write_measurement(args, config=args.config.stem, batch_size=args.batch_size, kinds=result)


if __name__ == '__main__':
    main()
