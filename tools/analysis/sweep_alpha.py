"""Sweep alpha of a trained classifier, and choose one on validation images, never on test images.

The network runs once over the split and its features are stored, so every later sweep takes seconds. Besides the
accuracies, the tool prints the two rules that need no label: alpha='auto' (alpha * mean cosine = 1), and the alpha with
the largest entropy of the mean prediction, which assumes balanced images.
"""
import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from arguments import (
    GROUPS,
    add_alphas_argument,
    add_feature_arguments,
    add_model_arguments,
    add_sweep_arguments,
    classifier_from,
    dataset_to_choose_by,
    plain_errors,
    print_points,
    selecting_metric,
    stored_features,
)

from mmcausal.analysis import auto_alphas, sweep_alpha
from mmcausal.functional import NORMALIZERS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    add_feature_arguments(parser)
    add_alphas_argument(parser, np.linspace(0, 3, 31).round(2).tolist())
    add_sweep_arguments(parser, GROUPS, 'overall')
    parser.add_argument('--normalizers', choices=sorted(NORMALIZERS), nargs='+',
                        help="normalisers to try on the trained weights; default: the classifier's own")
    return parser.parse_args()


def draw(points: List[Dict[str, Any]], marks: Dict[str, float], path: Path) -> None:
    import matplotlib
    matplotlib.use('Agg')
    from mmcausal.visualization import draw_alpha_sweep, paper_figure
    figure, axes = paper_figure()
    draw_alpha_sweep(axes, points, marks)
    figure.savefig(path)


def main() -> None:
    args = parse_args()
    runner, layer = classifier_from(args, 'sweep_alpha')
    with plain_errors():
        layer.resolved_alpha()  # refuses a checkpoint without a direction, before the long pass
    dataset = dataset_to_choose_by(runner, args)
    metric = selecting_metric(runner, args, dataset)
    store = stored_features(runner, layer, args, dataset)

    rules = auto_alphas([layer])
    sweeps, chosen = {}, {}
    for normalizer in args.normalizers or [layer.normalizer]:
        layer.normalizer = normalizer
        points = sweeps[normalizer] = sweep_alpha(layer, store.features, store.labels, sorted(set(args.alphas)), metric)
        best, evenest = (max(points, key=lambda point: point[key])['alpha'] for key in (args.select, 'entropy'))
        marks = {**rules, 'largest entropy': evenest}
        chosen[normalizer] = dict(best=best, largest_entropy=evenest)
        print_points(points, 'alpha')
        print(f'\n{normalizer}: best in {args.select} on the {args.split} split of {args.config}: alpha {best:g}. '
              'Without labels: ' + ', '.join(f'{rule} {alpha:.2f}' for rule, alpha in marks.items()))
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            plot = args.out.with_name(f'{args.out.stem}_{normalizer}.png')
            draw(points, {**marks, f'best in {args.select}': best}, plot)
            print(f'Plot: {plot}')
    if args.out:
        args.out.write_text(json.dumps(dict(
            config=args.config, checkpoint=args.checkpoint, split=args.split, identity=store.identity,
            auto_alpha=rules.get('auto'), select=args.select, chosen=chosen, sweeps=sweeps), indent=1))


if __name__ == '__main__':
    main()
