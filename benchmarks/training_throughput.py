"""Compare the training throughput of a config and its baseline: full optimiser steps on random images, alternating."""
import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

import torch
from alternating import alternate, ratios
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.files import write_text
from mmcausal.hooks import HeadDirectionHook
from mmcausal.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'cifar100_lt'


def make_step(config: Path, batch_size: int) -> Callable[[], None]:
    """Return a function that trains the config's model by one step, with its head direction if it has the hook."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.init_weights()
    model.train().to(memory_format=torch.channels_last)
    runner = SimpleNamespace(model=model, optim_wrapper=build_optim_wrapper(model, cfg.optim_wrapper))
    hooks = [HeadDirectionHook() for hook in cfg.custom_hooks if hook.type == 'mmcausal.HeadDirectionHook']
    for hook in hooks:
        hook.before_train(runner)
    labels = torch.randint(cfg.model.head.num_classes, (batch_size, ))
    batch = dict(
        inputs=torch.randint(256, (batch_size, 3, 32, 32), dtype=torch.uint8),
        data_samples=[DataSample().set_gt_label(int(label)) for label in labels])

    def step() -> None:
        model.train_step(batch, runner.optim_wrapper)
        for hook in hooks:
            hook.after_train_iter(runner, 0)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', type=Path, default=CONFIGS / 'deconfound-tde_r32_ir100.py')
    parser.add_argument('--baseline', type=Path, default=CONFIGS / 'linear_r32_ir100.py')
    parser.add_argument('--batch-size', type=int, default=256)
    parser.add_argument('--rounds', type=int, default=20)
    parser.add_argument('--out', type=Path, help='JSON file for the result')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)

    seconds = alternate({'config': make_step(args.config, args.batch_size),
                         'baseline': make_step(args.baseline, args.batch_size)}, args.rounds)
    result = ratios(seconds, 'baseline')
    rates = {name: round(1000 * args.batch_size / each['milliseconds'], 1) for name, each in result.items()}
    print(f'{args.config.stem} {rates["config"]} images/s, {args.baseline.stem} {rates["baseline"]} images/s; a step '
          f'takes {result["config"]["ratio"]:.3f} times that of the baseline')
    if args.out:
        write_text(args.out, json.dumps(dict(provenance(), images_per_second=rates, steps=result, rounds=args.rounds,
                                             batch_size=args.batch_size), indent=1) + '\n')


if __name__ == '__main__':
    main()
