"""Compare the training throughput of a config and its baseline: full optimiser steps on random images, alternating."""
from pathlib import Path

import torch
from alternating import alternate, ratios
from measurement import measurement_arguments, measurement_parser, write_measurement
from steps import Workload, random_images

from mmcausal.commands import add_options_argument, integer_argument
from mmcausal.config_files import read_config

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'cifar100_lt'


def main() -> None:
    parser = measurement_parser(__doc__, rounds=20)
    parser.add_argument('--config', type=Path, default=CONFIGS / 'deconfound-tde_r32_ir100.py')
    parser.add_argument('--baseline', type=Path, default=CONFIGS / 'linear_r32_ir100.py')
    parser.add_argument('--batch-size', type=integer_argument(1), default=256)
    parser.add_argument('--compiled', action='store_true', help='train the config with a compiled backbone too')
    add_options_argument(parser, 'changes to both configs')
    args = measurement_arguments(parser)

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
    write_measurement(args, images_per_second=rates, steps=result, batch_size=args.batch_size)


if __name__ == '__main__':
    main()
