"""Give a trained classifier the head direction that TDE needs: the mean feature over one pass of training images.

With --momentum it is the moving average at the end of that pass, as training would have left it.

For checkpoints that were trained without mmcausal.HeadDirectionHook, stock ones included: classifiers, and two-stage
detectors, whose stages each get the direction of their foreground proposals. The result is the same checkpoint with the
direction added; test it with mmcausal.TDEClassifierTTA or mmcausal.TDEDetectorTTA.
"""
import argparse
import itertools
import sys
from pathlib import Path
from typing import Dict

import torch
from mmengine.runner import CheckpointLoader
from mmengine.utils import track_iter_progress
from torch import Tensor, nn
from trained import add_model_arguments, load_trained, plain_errors

from mmcausal.hooks.class_prior_hook import give_class_counts, modules_with_counts
from mmcausal.models import DeconfoundLinear, enable_tde


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    parser.add_argument('out', type=Path, help='new checkpoint; an existing file is not overwritten')
    parser.add_argument('--momentum', type=float, help='of a moving average, in [0, 1); default: the exact mean')
    args = parser.parse_args()
    if args.momentum is not None and not 0 <= args.momentum < 1:
        parser.error(f'momentum must be in [0, 1), got {args.momentum}')
    if args.out.exists():
        parser.error(f'{args.out} exists')
    return args


@torch.no_grad()
def main() -> None:
    args = parse_args()
    with plain_errors():
        runner = load_trained(args, 'estimate_direction')
        model = runner.model
        layers = find_classifiers(model, args.classifier)
    for layer in layers.values():
        layer.train()  # observes its input; the rest of the model infers
        layer.mean_feature.zero_()
        layer.num_updates.zero_()
    dataloader = runner.build_dataloader(runner.cfg.train_dataloader)
    give_class_counts(modules_with_counts(model), dataloader.dataset)
    checkpoint = CheckpointLoader.load_checkpoint(args.checkpoint, map_location='cpu')
    state = checkpoint.get('state_dict', checkpoint)
    check_fit(args, state, layers)
    # Detectors pad their labels in training alone; classifiers would mix theirs.
    is_detector = hasattr(model, 'roi_head')
    # One pass, of samplers without an end too
    batches = itertools.islice(dataloader, len(dataloader))
    for batch in track_iter_progress((batches, len(dataloader))):
        model(**model.data_preprocessor(batch, is_detector), mode='loss')
        if args.momentum is not None:
            update_all(layers, args.momentum)
    if args.momentum is None:
        update_all(layers, 0.)

    print("\nalpha='auto' is 1 / mean cosine")
    for name, layer in layers.items():
        if not layer.num_updates:
            sys.exit(f'{name} has seen no usable sample in the training images, so it has no direction')
        for buffer in ('mean_feature', 'mean_cosine', 'num_updates'):
            state[f'{name}.{buffer}'] = getattr(layer, buffer).cpu()
        print(f'{name}: mean cosine {float(layer.mean_cosine):.3f}')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, args.out)
    print(f'Saved {args.out}')


def find_classifiers(model: nn.Module, classifier: str) -> Dict[str, DeconfoundLinear]:
    """The classifiers of a model by their names, ready for TDE."""
    if not hasattr(model, 'roi_head'):
        return {classifier: enable_tde(model, 0., classifier)}
    from mmcausal.models import enable_detector_tde
    layers = enable_detector_tde(model, 0.)
    return {name: layer for name, layer in model.named_modules() if any(layer is other for other in layers)}


def check_fit(args: argparse.Namespace, state: Dict[str, Tensor], layers: Dict[str, DeconfoundLinear]) -> None:
    """Exit where a checkpoint has other classifiers than the model: the host only logs it, and keeps random ones."""
    saved = {name for name in state if name.endswith('fc_cls.weight')} | {f'{name}.weight' for name in layers}
    own = {f'{name}.weight': tuple(layer.weight.shape) for name, layer in layers.items()}
    for name in sorted(saved):
        found = tuple(state[name].shape) if name in state else None
        if found != own.get(name):
            sys.exit(f'{args.checkpoint} is not a checkpoint of {args.config}: {name} has shape {found} there, and '
                     f'{own.get(name)} in the model')


def update_all(layers: Dict[str, DeconfoundLinear], momentum: float) -> None:
    for layer in layers.values():
        layer.update_direction(momentum)


if __name__ == '__main__':
    main()
