"""Accuracy of a trained classifier over alpha, and the alpha to use: chosen on validation images, never on test images.

The network runs once over the split; its features are stored, and every later sweep takes seconds. Besides the
accuracies it prints the two rules that need no label: alpha='auto' (alpha * mean cosine = 1) and the alpha at which the
mean prediction has the largest entropy, which supposes balanced images.
"""
import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from trained import (
    GROUPS,
    add_alphas_argument,
    add_feature_arguments,
    add_model_arguments,
    add_sweep_arguments,
    auto_marks,
    load_classifier,
    plain_errors,
    print_points,
    refuse_test_images,
    selecting_metric,
    stored_features,
)

from mmcausal.evaluation import sweep_alpha
from mmcausal.functional import NORMALIZERS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    add_feature_arguments(parser)
    add_alphas_argument(parser, np.linspace(0, 3, 31).round(2).tolist())
    add_sweep_arguments(parser, GROUPS, 'overall')
    parser.add_argument('--normalizers', choices=sorted(NORMALIZERS), nargs='+',
                        help="other normalisers to try on the trained weights; default: the classifier's own")
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
    runner, layer = load_classifier(args, 'sweep_alpha')
    with plain_errors():
        layer.resolved_alpha()  # refuses a checkpoint without a direction, before the long pass
    dataset = refuse_test_images(runner.cfg, args)
    metric = selecting_metric(runner, args, dataset)
    store = stored_features(runner, layer, args, dataset)

    rules = auto_marks([layer])
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
            picture = args.out.with_name(f'{args.out.stem}_{normalizer}.png')
            draw(points, {**marks, f'best in {args.select}': best}, picture)
            print(f'Picture: {picture}')
    if args.out:
        args.out.write_text(json.dumps(dict(
            config=args.config, checkpoint=args.checkpoint, split=args.split, identity=store.identity,
            auto_alpha=rules.get('auto'), select=args.select, chosen=chosen, sweeps=sweeps), indent=1))


if __name__ == '__main__':
    main()
