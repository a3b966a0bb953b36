"""Compare the training throughput of a config and its baseline: full optimiser steps on random images, alternating."""
import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

import torch
from alternating import alternate, ratios
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample

from mmcausal.analysis import provenance
from mmcausal.commands import add_options_argument, add_overwrite_argument, check_outputs
from mmcausal.config_files import read_config
from mmcausal.files import write_text
from mmcausal.hooks import CompileBackboneHook, HeadDirectionHook
from mmcausal.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'cifar100_lt'


def make_step(config: Path, options: dict, batch_size: int, is_compiled: bool = False) -> Callable[[], None]:
    """Return a function that trains the config's model by one step, with its head direction if it has the hook."""
    cfg = read_config(config, options)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.init_weights()
    model.train().to(memory_format=torch.channels_last)
    runner = SimpleNamespace(model=model, optim_wrapper=build_optim_wrapper(model, cfg.optim_wrapper))
    hooks = [HeadDirectionHook() for hook in cfg.custom_hooks if hook.type == 'mmcausal.HeadDirectionHook']
    for hook in hooks:
        hook.before_train(runner)
    if is_compiled:
        CompileBackboneHook().before_run(runner)
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
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--compiled', action='store_true', help='train the config with a compiled backbone too')
    add_options_argument(parser, 'changes to both configs')
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    torch.set_num_threads(args.threads)

    steps = {name: make_step(config, args.cfg_options, args.batch_size)
             for name, config in (('config', args.config), ('baseline', args.baseline))}
    if args.compiled:
        steps['compiled'] = make_step(args.config, args.cfg_options, args.batch_size, is_compiled=True)
    seconds = alternate(steps, args.rounds)
    result = ratios(seconds, 'baseline')
    rates = {name: round(1000 * args.batch_size / each['milliseconds'], 1) for name, each in result.items()}
    for name, rate in rates.items():
        print(f'{name}: {rate} images/s; a step takes {result[name]["ratio"]:.3f} times that of the baseline')
    if args.out:
        write_text(args.out, json.dumps(dict(provenance(), images_per_second=rates, steps=result, rounds=args.rounds,
                                             threads=args.threads, batch_size=args.batch_size), indent=1) + '\n')


if __name__ == '__main__':
    main()
