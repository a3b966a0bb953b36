"""Give a trained classifier the head direction that TDE needs: the mean feature over one pass of training images.

For checkpoints that were trained without mmcausal.HeadDirectionHook, stock ones included. The result is the same
checkpoint with the direction added; test it with mmcausal.TDEClassifierTTA.
"""
import argparse
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import CheckpointLoader, Runner
from mmengine.utils import track_iter_progress

from mmcausal.models import enable_tde


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('out', type=Path, help='new checkpoint; an existing file is not overwritten')
    parser.add_argument('--classifier', default='head.fc', help='name of the linear layer')
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
    cfg.work_dir = cfg.get('work_dir') or str(Path('work_dirs') / 'estimate_direction')
    cfg.load_from = args.checkpoint
    cfg.log_level = 'WARNING'
    runner = Runner.from_cfg(cfg)
    runner.load_or_resume()
    layer = enable_tde(runner.model, 'auto', args.classifier)
    runner.model.eval()
    layer.train()  # observes its input; the rest of the model infers
    dataloader = runner.build_dataloader(cfg.train_dataloader)
    for batch in track_iter_progress((dataloader, len(dataloader))):
        runner.model.test_step(batch)
    layer.num_updates.zero_()
    layer.update_direction(momentum=0)

    checkpoint = CheckpointLoader.load_checkpoint(args.checkpoint, map_location='cpu')
    for name in ('mean_feature', 'mean_cosine', 'num_updates'):
        checkpoint['state_dict'][f'{args.classifier}.{name}'] = getattr(layer, name).cpu()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, args.out)
    print(f"\nSaved {args.out}: mean cosine {float(layer.mean_cosine):.3f}, so alpha='auto' is "
          f'{1 / float(layer.mean_cosine):.3f}')


if __name__ == '__main__':
    main()
