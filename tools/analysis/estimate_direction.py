"""Estimate the head direction that TDE needs, for a trained checkpoint, with one pass over its training images.

The direction is the mean feature; with --momentum, the moving average at the end of the pass, as in training. Use it
for checkpoints trained without mmcausal.HeadDirectionHook, stock ones included: classifiers, and two-stage detectors,
in which each stage gets the direction of its foreground proposals. The output is the same checkpoint with the direction
added; test it with mmcausal.TDEClassifierTTA or mmcausal.TDEDetectorTTA.
"""
import argparse
import itertools
import sys
from pathlib import Path
from typing import Dict

import torch
from arguments import add_model_arguments
from mmengine.utils import track_iter_progress
from torch import Tensor, nn

from mmcausal.analysis import quiet_runner
from mmcausal.checkpoint_files import read_checkpoint, safe_checkpoints
from mmcausal.checkpoints import (
    OTHER_NETWORK,
    check_checkpoint,
    check_finite,
    differences,
    missing_parameters,
    shapes_of,
    weights_of,
)
from mmcausal.class_prior import TakesClassCounts
from mmcausal.commands import add_overwrite_argument, check_outputs, plain_errors
from mmcausal.config_files import errors_naming
from mmcausal.datasets.given_counts import give_class_counts
from mmcausal.encoding import use_utf8
from mmcausal.files import write_checkpoint
from mmcausal.hooks.utils import modules_of_type
from mmcausal.models import TDELinear, enable_tde
from mmcausal.models.enable_tde import without_wrappers
from mmcausal.models.tde_support import is_detector


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    parser.add_argument('out', type=Path, help='new checkpoint')
    add_overwrite_argument(parser)
    parser.add_argument('--momentum', type=float, help='momentum of a moving average in [0, 1); default: exact mean')
    args = parser.parse_args()
    if args.momentum is not None and not 0 <= args.momentum < 1:
        parser.error(f'momentum must be in [0, 1), but got {args.momentum}')
    check_outputs(parser, args, args.out)
    return args


@plain_errors()
@torch.no_grad()
def main() -> None:
    use_utf8()
    args = parse_args()
    runner = quiet_runner(args.config, args.checkpoint, args.cfg_options, 'estimate_direction')
    checkpoint = read_checkpoint(args.checkpoint)
    with safe_checkpoints():
        runner.load_or_resume()
    model = without_wrappers(runner.model)
    layers = find_classifiers(model, args.classifier)
    for layer in layers.values():
        layer.train()  # it observes its input; the rest of the model infers
        layer.reset_direction()
    with errors_naming(f'the train_dataloader of {args.config} must be one that can be built'):
        dataloader = runner.build_dataloader(runner.cfg.train_dataloader)
    give_class_counts(modules_of_type(model, TakesClassCounts), dataloader.dataset)
    state = checkpoint.get('state_dict', checkpoint)
    check_fit(args, weights_of(checkpoint), model, layers)
    # Detectors pad their labels only in training; classifiers would mix theirs.
    pads_labels = is_detector(model)
    # One pass, also with samplers that never end
    batches = itertools.islice(dataloader, len(dataloader))
    for batch in track_iter_progress((batches, len(dataloader))):
        model(**model.data_preprocessor(batch, pads_labels), mode='loss')
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
            if 'ema_state_dict' in checkpoint:  # MMPretrain's EMAHook takes it in tests too
                checkpoint['ema_state_dict'][f'module.{name}.{buffer}'] = getattr(layer, buffer).cpu()
        print(f'{name}: mean cosine {float(layer.mean_cosine):.3f}')
        if layer.num_skipped:
            print(f'{name}: {layer.skipped_batches()}')
    write_checkpoint(args.out, checkpoint)
    print(f'Saved {args.out}')


def find_classifiers(model: nn.Module, classifier: str) -> Dict[str, TDELinear]:
    """Return the classifiers of a model by name, ready for TDE."""
    if not is_detector(model):
        return {classifier: enable_tde(model, 0., classifier)}
    from mmcausal.models import enable_detector_tde
    layers = enable_detector_tde(model, 0.)
    return {name: layer for name, layer in model.named_modules() if any(layer is other for other in layers)}


def check_fit(args: argparse.Namespace, state: Dict[str, Tensor], model: nn.Module,
              layers: Dict[str, TDELinear]) -> None:
    """Raise ``ValueError`` if the checkpoint has other weights, or classifiers with weights that are not finite.

    The host only logs other weights, and keeps random ones.
    """
    own = {f'{name}.weight': tuple(layer.weight.shape) for name, layer in layers.items()}
    saved = {**shapes_of(state, suffix='fc_cls.weight'),
             **{name: tuple(state[name].shape) for name in own if name in state}}
    check_checkpoint(f'{args.config} ({args.checkpoint})', differences(own, saved))
    check_finite({name: state[name] for name in own})
    check_checkpoint(args.config, missing_parameters(model, state), OTHER_NETWORK, args.checkpoint)


def update_all(layers: Dict[str, TDELinear], momentum: float) -> None:
    for layer in layers.values():
        layer.update_direction(momentum)


if __name__ == '__main__':
    main()
