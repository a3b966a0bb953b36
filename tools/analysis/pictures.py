"""Draw the plots of a trained classifier: norms, head direction, accuracy per class, confusion, calibration.

Features are stored on the first run and shared with sweep_alpha.py. mmcausal.PicturesHook draws the same plots for
TensorBoard or W&B while a model trains.
"""
import argparse
from pathlib import Path

import matplotlib
from arguments import (
    add_alpha_argument,
    add_feature_arguments,
    add_model_arguments,
    alpha_to_show,
    classifier_from,
    draw_pictures,
    stored_features,
)

from mmcausal.analysis import build_split, shot_metric
from mmcausal.commands import add_overwrite_argument, check_outputs, plain_errors
from mmcausal.encoding import use_utf8
from mmcausal.hosts import require_packages
from mmcausal.visualization import PICTURES, save_figure

matplotlib.use('Agg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    add_feature_arguments(parser)
    add_alpha_argument(parser)
    parser.add_argument('--out-dir', type=Path, default=Path('work_dirs/pictures'), help='folder for the PNG files')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, *(args.out_dir / f'{name}.png' for name in PICTURES))
    return args


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    require_packages('pictures.py', 'torchmetrics')  # before the features, which take long
    runner, layer = classifier_from(args, 'pictures')
    alpha = alpha_to_show(args, layer)
    dataset = build_split(runner.cfg, args.split)
    metric = shot_metric(runner, args.split, dataset)
    store = stored_features(runner, layer, args, dataset)
    for name, figure in draw_pictures(runner, layer, store, metric, dataset, alpha).items():
        save_figure(figure, args.out_dir / f'{name}.png')
        print(args.out_dir / f'{name}.png')


if __name__ == '__main__':
    main()
