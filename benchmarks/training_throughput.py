"""Compare the training throughput of a config and its baseline: full optimiser steps on random images, alternating."""
import argparse
import json
from pathlib import Path

import torch
from alternating import alternate, ratios
from steps import Workload, random_images

from mmcausal.analysis import provenance
from mmcausal.commands import add_options_argument, add_overwrite_argument, check_outputs
from mmcausal.config_files import read_config
from mmcausal.files import write_text

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'cifar100_lt'


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

    torch.manual_seed(0)
    num_classes = read_config(args.config, args.cfg_options).model.head.num_classes
    batch = random_images(args.batch_size, (32, 32), num_classes)
    steps = {name: Workload(config, args.cfg_options, batch).train
             for name, config in (('config', args.config), ('baseline', args.baseline))}
    if args.compiled:
        steps['compiled'] = Workload(args.config, args.cfg_options, batch, is_compiled=True).train
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
