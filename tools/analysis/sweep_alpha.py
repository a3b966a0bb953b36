"""Accuracy of a trained classifier over alpha, and the alpha to use: chosen on validation images, never on test images.

The network runs once over the split; its features are stored, and every later sweep takes seconds. Besides the
accuracies it prints the two rules that need no label: alpha='auto' (alpha * mean cosine = 1) and the alpha at which the
mean prediction has the largest entropy, which supposes balanced images.
"""
import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from trained import (
    add_feature_arguments,
    add_model_arguments,
    add_sweep_arguments,
    load_trained,
    refuse_test_images,
    shot_metric,
    stored_features,
)

from mmcausal.evaluation import sweep_alpha
from mmcausal.functional import NORMALIZERS
from mmcausal.models import enable_tde

GROUPS = ('many', 'medium', 'few', 'overall', 'prior')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    add_feature_arguments(parser)
    add_sweep_arguments(parser)
    parser.set_defaults(alphas=np.linspace(0, 3, 31).round(2).tolist())
    parser.add_argument('--normalizers', choices=sorted(NORMALIZERS), nargs='+',
                        help="other normalisers to try on the trained weights; default: the classifier's own")
    parser.add_argument('--select', choices=GROUPS, default='overall', help='what the chosen alpha is best in')
    return parser.parse_args()


def print_table(points: List[Dict[str, Any]]) -> None:
    groups = [group for group in GROUPS if group in points[0]]
    print(f'\n{"alpha":>7}' + ''.join(f'{group:>10}' for group in groups) + f'{"entropy":>10}')
    for point in points:
        print(f'{point["alpha"]:>7.2f}' + ''.join(f'{point[group]:>10.2f}' for group in groups) +
              f'{point["entropy"]:>10.3f}')


def draw(points: List[Dict[str, Any]], marks: Dict[str, float], path: Path) -> None:
    import matplotlib
    matplotlib.use('Agg')
    from mmcausal.visualization import draw_alpha_sweep, paper_figure
    figure, axes = paper_figure()
    draw_alpha_sweep(axes, points, marks)
    figure.savefig(path)


def main() -> None:
    args = parse_args()
    runner = load_trained(args, 'sweep_alpha', untouched=True)
    layer = enable_tde(runner.model, 'auto', args.classifier)
    runner.load_or_resume()
    layer.alpha = 1.
    layer.resolved_alpha()  # refuses a checkpoint without a direction, before the long pass
    marks = {'auto': 1 / float(layer.mean_cosine)} if layer.mean_cosine > 0 else {}
    dataset = refuse_test_images(runner.cfg, args)
    store, dataset = stored_features(runner, layer, args, dataset)
    metric = shot_metric(runner.build_evaluator(runner.cfg[f'{args.split}_evaluator']), dataset)

    if args.select == 'prior' and metric.class_prior is None:
        sys.exit('--select prior: the shot metric has no class_prior')
    if not metric.groups().get(args.select, np.ones(1)).any():
        sys.exit(f'--select {args.select}: no class of {args.config} is {args.select}-shot')
    sweeps = {}
    for normalizer in args.normalizers or [layer.normalizer]:
        layer.normalizer = normalizer
        points = sweeps[normalizer] = sweep_alpha(layer, store.features, store.labels, args.alphas, metric)
        marks['largest entropy'] = max(points, key=lambda point: point['entropy'])['alpha']
        best = max(points, key=lambda point: point[args.select])['alpha']
        print_table(points)
        print(f'\n{normalizer}: best in {args.select} on the {args.split} split of {args.config}: alpha {best:g}. '
              'Without labels: ' + ', '.join(f'{rule} {alpha:.2f}' for rule, alpha in marks.items()))
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            picture = args.out.with_name(f'{args.out.stem}_{normalizer}.png')
            draw(points, {**marks, f'best in {args.select}': best}, picture)
            print(f'Picture: {picture}')
    if args.out:
        args.out.write_text(json.dumps(dict(
            config=args.config, checkpoint=args.checkpoint, split=args.split, identity=store.identity,
            auto_alpha=marks.get('auto'), select=args.select, sweeps=sweeps), indent=1))


if __name__ == '__main__':
    main()
