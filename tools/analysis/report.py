"""Write one HTML page about a trained classifier: accuracies, plots, a sortable table of classes, config.

Give it a work directory: it reads the config that the training left there, and the last checkpoint by default.
Features are stored on the first run and shared with sweep_alpha.py and pictures.py.
"""
import argparse
import os
import sys
from pathlib import Path

import matplotlib
import numpy as np
from arguments import add_feature_arguments, alpha_argument, classifier_from, reporting_metric, stored_features
from mmengine.config import Config, DictAction

from mmcausal.analysis import auto_alphas, build_split, predict, sweep_alpha
from mmcausal.encoding import use_utf8

matplotlib.use('Agg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('--config', help='default: the only one in the work directory')
    parser.add_argument('--checkpoint', help='default: the last one')
    parser.add_argument('--classifier', default='head.fc', help='name of the linear layer')
    add_feature_arguments(parser)
    parser.add_argument('--alpha', type=alpha_argument, default=1., help='alpha of TDE; default 1')
    parser.add_argument('--out', type=Path, help='default: report.html in the work directory')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to the config')
    args = parser.parse_args()
    args.config = args.config or find_config(args.work_dir)
    args.checkpoint = args.checkpoint or find_checkpoint(args.work_dir)
    args.out = args.out or args.work_dir / 'report.html'
    return args


def find_config(work_dir: Path) -> str:
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


def main() -> None:
    from mmcausal.visualization import (
        class_rows,
        classifier_pictures,
        draw_alpha_sweep,
        grad_cam_pictures,
        paper_figure,
        report_page,
    )
    use_utf8()
    args = parse_args()
    runner, layer = classifier_from(args, 'report')
    dataset = build_split(runner.cfg, args.split)
    metric = reporting_metric(runner, args, dataset)
    store = stored_features(runner, layer, args, dataset)

    class_names = dataset.metainfo.get('classes')
    figures = classifier_pictures(layer, store.features, store.labels, metric.counts(), metric.groups(), args.alpha,
                                  class_names)
    figures.update(grad_cam_pictures(runner.model, layer, dataset, store.labels, metric.counts(), args.alpha))
    names, curve = {'total effect': 0.}, []
    if layer.mean_feature.any():
        names[f'TDE, alpha {args.alpha:g}'] = args.alpha
        curve = np.linspace(0, 3, 31).round(2).tolist()
    else:
        print('The checkpoint has no head direction, so there is no TDE on the page; estimate_direction.py adds one')
    points = sweep_alpha(layer, store.features, store.labels, sorted({*names.values(), *curve}), metric)
    if curve:
        figures['alpha_sweep'], axes = paper_figure()
        draw_alpha_sweep(axes, points, {**auto_alphas([layer]), 'this page': args.alpha})

    groups = [group for group in ('many', 'medium', 'few', 'overall') if group in points[0]]
    by_alpha = {point['alpha']: {group: point[group] for group in groups} for point in points}
    predictions = {name: predict(layer, store.features, alpha) for name, alpha in names.items()}
    rows = class_rows(class_names or range(len(metric.counts())), metric.counts(), metric.groups(),
                      np.asarray(store.labels), predictions)
    page = report_page(
        title=Path(args.config).stem,
        summary=f'{len(store.labels)} images of the {args.split} split, checkpoint {Path(args.checkpoint).name}.',
        config_name=Path(args.config).name,
        config=Config.fromfile(args.config).pretty_text,
        accuracies={name: by_alpha[alpha] for name, alpha in names.items()},
        figures=figures,
        rows=rows)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(page, encoding='utf-8')
    print(f'Report: {args.out}')


if __name__ == '__main__':
    main()
