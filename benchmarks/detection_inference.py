"""Compare the inference time of a detector with TDE and of its baseline, alternating on the same images.

Without checkpoints, both have the same random weights. Then set --score-thr, because otherwise the number of
detections, and the time that it costs, differs by chance.
"""
import argparse
import json
import time
from pathlib import Path
from typing import List

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner, load_checkpoint
from torch import nn

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.files import write_text
from mmcausal.models import DetectionDeconfoundLinear
from mmcausal.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'lvis'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', type=Path, default=CONFIGS / 'cascade_tde_r101.py')
    parser.add_argument('--baseline', type=Path, default=CONFIGS / 'cascade_baseline_r101.py')
    parser.add_argument('--checkpoint', help='checkpoint of the config; default: random weights')
    parser.add_argument('--baseline-checkpoint', help='checkpoint of the baseline; default: random weights')
    parser.add_argument('--images', type=int, default=5, help='number of test images')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--score-thr', type=float, help="score threshold; default: the configs' own")
    parser.add_argument('--out', type=Path, help='JSON file for the result')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to both configs')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def load_config(path: Path, args: argparse.Namespace) -> Config:
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(args.cfg_options)
    cfg.model.backbone.init_cfg = None
    if args.score_thr is not None:
        cfg.model.test_cfg.rcnn.score_thr = args.score_thr
    return cfg


def build_models(args: argparse.Namespace) -> List[nn.Module]:
    """Build the detectors of config and baseline, with the same random weights or each with its checkpoint."""
    torch.manual_seed(0)
    config, baseline = (MODELS.build(load_config(path, args).model) for path in (args.config, args.baseline))
    config.load_state_dict(baseline.state_dict(), strict=False)
    for layer in config.modules():
        if isinstance(layer, DetectionDeconfoundLinear):
            layer.mean_feature.uniform_()
    for model, checkpoint in ((config, args.checkpoint), (baseline, args.baseline_checkpoint)):
        if checkpoint:
            load_checkpoint(model, checkpoint, map_location='cpu')
    return [config.eval(), baseline.eval()]


def load_batches(args: argparse.Namespace) -> List[dict]:
    cfg = load_config(args.baseline, args)
    cfg.test_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
    cfg.test_dataloader.dataset.indices = args.images
    return list(Runner.build_dataloader(cfg.test_dataloader))


@torch.no_grad()
def main() -> None:
    args = parse_args()
    from mmdet.utils import register_all_modules
    register_all_modules()
    models, batches = build_models(args), load_batches(args)
    seconds: List[List[float]] = [[], []]
    for round_index in range(args.rounds + 1):
        for batch in batches:
            for model, times in zip(models, seconds):
                start = time.perf_counter()
                model.test_step(batch)
                if round_index >= 1:  # warm by then
                    times.append(time.perf_counter() - start)
        print(f'round {round_index} of {args.rounds}', flush=True)
    ratio = float(np.median(np.array(seconds[0]) / np.array(seconds[1])))
    medians = [float(np.median(times)) for times in seconds]
    print(f'{args.config.stem} {medians[0]:.3f} s, {args.baseline.stem} {medians[1]:.3f} s per image, median ratio of '
          f'adjacent runs {ratio:.3f}')
    if args.out:
        result = dict(provenance(), config=args.config.stem, baseline=args.baseline.stem, seconds_per_image=medians,
                      ratio=ratio, seconds=seconds, score_thr=args.score_thr)
        write_text(args.out, json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
