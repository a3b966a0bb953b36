"""Write one HTML page about a trained classifier: accuracies, plots, a sortable table of classes, config.

Give it a work directory: it reads the config that the training left there, and the last checkpoint by default.
Features are stored on the first run and shared with sweep_alpha.py and pictures.py.
"""
import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, List

import matplotlib
import numpy as np
from arguments import (
    add_alpha_argument,
    add_feature_arguments,
    alpha_to_show,
    classifier_from,
    draw_pictures,
    stored_features,
)

from mmcausal.analysis import auto_alphas, build_split, predict, shot_metric, sweep_alpha
from mmcausal.commands import (
    add_options_argument,
    add_overwrite_argument,
    check_outputs,
    file_argument,
    plain_errors,
)
from mmcausal.config_files import read_config
from mmcausal.encoding import use_utf8
from mmcausal.files import write_text
from mmcausal.hosts import require_packages
from mmcausal.models import TDELinear

if TYPE_CHECKING:
    from matplotlib.figure import Figure

matplotlib.use('Agg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('--config', type=file_argument, help='default: the only one in the work directory')
    parser.add_argument('--checkpoint', type=file_argument, help='default: the last one')
    parser.add_argument('--classifier', default='head.fc', help='name of the linear layer')
    add_feature_arguments(parser)
    add_alpha_argument(parser)
    parser.add_argument('--out', type=Path, help='default: report.html in the work directory')
    add_overwrite_argument(parser)
    add_options_argument(parser)
    args = parser.parse_args()
    args.config = args.config or find_config(args.work_dir)
    args.checkpoint = args.checkpoint or find_checkpoint(args.work_dir)
    args.out = args.out or args.work_dir / 'report.html'
    check_outputs(parser, args, args.out)
    return args


def find_config(work_dir: Path) -> str:
    if not work_dir.is_dir():
        sys.exit(f'work_dir must be the folder of a training, but got {work_dir}')
    configs = sorted(work_dir.glob('*.py'))
    if len(configs) != 1:
        sys.exit(f'{work_dir} must hold the config of one training, but has {[path.name for path in configs]}; choose '
                 'one with --config')
    return str(configs[0])


def find_checkpoint(work_dir: Path) -> str:
    last = work_dir / 'last_checkpoint'
    if not last.exists():
        sys.exit(f'{work_dir} has no last_checkpoint; choose one with --checkpoint')
    checkpoint = Path(os.fsdecode(last.read_bytes().strip()))
    return str(checkpoint if checkpoint.exists() else work_dir / checkpoint.name)  # the directory may have moved


def draw_sweep(points: List[dict], layer: TDELinear, alpha: float) -> 'Figure':
    """Draw accuracy over alpha, with the alpha of the page."""
    from mmcausal.visualization import draw_alpha_sweep, paper_figure
    figure, axes = paper_figure()
    draw_alpha_sweep(axes, points, {**auto_alphas([layer]), **({'this page': alpha} if alpha else {})})
    return figure


@plain_errors()
def main() -> None:
    from mmcausal.visualization import class_rows, report_page
    use_utf8()
    args = parse_args()
    require_packages('report.py', 'torchmetrics')  # before the features, which take long
    runner, layer = classifier_from(args, 'report')
    alpha = alpha_to_show(args, layer)
    dataset = build_split(runner.cfg, args.split)
    metric = shot_metric(runner, args.split, dataset)
    store = stored_features(runner, layer, args, dataset)

    figures = draw_pictures(runner, layer, store, metric, dataset, alpha)
    names = {'total effect': 0., **({f'TDE, alpha {alpha:.4g}': alpha} if alpha else {})}
    curve = np.linspace(0, 3, 31).round(2).tolist() if layer.mean_feature.any() else []
    points = sweep_alpha(layer, store.features, store.labels, sorted({*names.values(), *curve}), metric)
    if curve:
        figures['alpha_sweep'] = draw_sweep(points, layer, alpha)
    groups = [group for group in (*metric.groups(), 'overall') if group in points[0]]
    by_alpha = {point['alpha']: {group: point[group] for group in groups} for point in points}
    page = report_page(
        title=Path(args.config).stem,
        summary=f'{len(store.labels)} images of the {args.split} split, checkpoint {Path(args.checkpoint).name}.',
        config_name=Path(args.config).name,
        config=read_config(args.config, args.cfg_options).pretty_text,
        accuracies={name: by_alpha[value] for name, value in names.items()},
        figures=figures,
        rows=class_rows(dataset.metainfo.get('classes') or range(len(metric.counts())), metric.counts(),
                        metric.groups(), np.asarray(store.labels),
                        {name: predict(layer, store.features, value) for name, value in names.items()}))
    write_text(args.out, page)
    print(f'Report: {args.out}')


if __name__ == '__main__':
    main()
