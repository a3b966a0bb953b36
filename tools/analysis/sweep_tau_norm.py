"""Sweep the exponent of a tau-normalised classifier, and choose one on validation images.

The network runs once over the split and its features are stored, so every later sweep takes seconds.
"""
import argparse
import json
import sys

import numpy as np
from arguments import (
    GROUPS,
    add_feature_arguments,
    add_model_arguments,
    add_sweep_arguments,
    dataset_to_choose_by,
    print_points,
    selecting_metric,
    stored_features,
)

from mmcausal.analysis import quiet_runner, sweep_exponent
from mmcausal.models import TauNormLinear
from mmcausal.models.layers.decoupled_linears import check_exponent


def exponent_argument(text: str) -> float:
    """Parse an exponent."""
    try:
        return check_exponent(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    add_feature_arguments(parser)
    parser.add_argument('--exponents', type=exponent_argument, nargs='+',
                        default=np.linspace(0, 1, 21).round(2).tolist(), help='values of the exponent, in [0, 1]')
    add_sweep_arguments(parser, GROUPS, 'overall')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    runner = quiet_runner(args.config, args.checkpoint, args.cfg_options, 'sweep_tau_norm')
    runner.load_or_resume()
    layer = dict(runner.model.named_modules()).get(args.classifier)
    if not isinstance(layer, TauNormLinear):
        sys.exit(f'{args.classifier} of {args.config} must be a mmcausal.TauNormLinear, as in '
                 f'configs/*/tau-norm_*.py, but is a {type(layer).__name__}')
    dataset = dataset_to_choose_by(runner, args)
    metric = selecting_metric(runner, args, dataset)
    store = stored_features(runner, layer, args, dataset)
    points = sweep_exponent(layer, store.features, store.labels, sorted(set(args.exponents)), metric)
    best = max(points, key=lambda point: point[args.select])['exponent']
    print_points(points, 'exponent')
    print(f'\nBest in {args.select} on the {args.split} split of {args.config}: exponent {best:g}')
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(dict(
            config=args.config, checkpoint=args.checkpoint, split=args.split, identity=store.identity,
            select=args.select, chosen=best, sweep=points), indent=1))


if __name__ == '__main__':
    main()
