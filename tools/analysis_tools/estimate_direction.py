"""Give a trained classifier the head direction that TDE needs: the mean feature over one pass of training images.

For checkpoints that were trained without mmcausal.HeadDirectionHook, stock ones included: classifiers, and two-stage
detectors, whose stages each get the direction of their foreground proposals. The result is the same checkpoint with the
direction added; test it with mmcausal.TDEClassifierTTA or mmcausal.TDEDetectorTTA.
"""
import argparse
import itertools
from pathlib import Path
from typing import Dict

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import CheckpointLoader, Runner
from mmengine.utils import track_iter_progress
from torch import nn

from mmcausal.hooks.class_prior_hook import give_image_counts
from mmcausal.models import DeconfoundLinear, enable_tde


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('out', type=Path, help='new checkpoint; an existing file is not overwritten')
    parser.add_argument('--classifier', default='head.fc', help='name of the linear layer; not for detectors')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to the config')
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f'{args.out} exists')
    return args


@torch.no_grad()
def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.work_dir = str(Path('work_dirs') / 'estimate_direction')  # the training's own config stays
    cfg.load_from = args.checkpoint
    cfg.log_level = 'WARNING'
    runner = Runner.from_cfg(cfg)
    runner.load_or_resume()
    model = runner.model.eval()
    layers = find_classifiers(model, args.classifier)
    for layer in layers.values():
        layer.train()  # observes its input; the rest of the model infers
    dataloader = runner.build_dataloader(cfg.train_dataloader)
    give_image_counts(model, dataloader.dataset)
    checkpoint = CheckpointLoader.load_checkpoint(args.checkpoint, map_location='cpu')
    state = checkpoint.get('state_dict', checkpoint)
    # Detectors pad their labels in training alone; classifiers would mix theirs.
    is_detector = hasattr(model, 'roi_head')
    # One pass, of samplers without an end too
    batches = itertools.islice(dataloader, len(dataloader))
    for batch in track_iter_progress((batches, len(dataloader))):
        model(**model.data_preprocessor(batch, is_detector), mode='loss')

    print("\nalpha='auto' is 1 / mean cosine")
    for name, layer in layers.items():
        layer.num_updates.zero_()
        layer.update_direction(momentum=0)
        if not layer.num_updates:
            raise RuntimeError(f'{name} has seen no usable sample in the training images, so it has no direction')
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


if __name__ == '__main__':
    main()
