"""Sweep alpha of a trained classifier, and choose one on validation images, never on test images.

The network runs once over the split and its features are stored, so every later sweep takes seconds. Besides the
accuracies, the tool prints the two rules that need no label: alpha='auto' (alpha * mean cosine = 1), and the alpha with
the largest entropy of the mean prediction, which assumes balanced images.

With --write-config OUT.py, the chosen alpha goes into a new config, for tests, tools and inferencers alike.

With --taus and --exponents it also sweeps two corrections that need class counts or class weights instead of a head
direction: logit adjustment and tau-normalisation, each alone and together with every alpha.
"""
import argparse
import itertools
import json
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from arguments import (
    add_alphas_argument,
    add_feature_arguments,
    add_model_arguments,
    add_sweep_arguments,
    check_choice_of_alpha,
    classifier_from,
    dataset_to_choose_by,
    print_points,
    selecting_metric,
    stored_features,
    write_chosen,
)

from mmcausal.analysis import (
    Correction,
    FeatureStore,
    auto_alphas,
    check_correction,
    check_held_out,
    sweep_alpha,
    sweep_corrections,
)
from mmcausal.class_prior import check_class_counts
from mmcausal.commands import check_outputs, number_argument, plain_errors
from mmcausal.encoding import use_utf8
from mmcausal.evaluation import ShotAccuracy
from mmcausal.files import write_text
from mmcausal.functional import NORMALIZERS
from mmcausal.models import TDELinear


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    add_feature_arguments(parser)
    add_alphas_argument(parser, np.linspace(0, 3, 31).round(2).tolist())
    add_sweep_arguments(parser, 'overall')
    parser.add_argument('--normalizers', choices=sorted(NORMALIZERS), nargs='+',
                        help="normalisers to try on the trained weights; default: the classifier's own")
    parser.add_argument('--taus', type=number_argument('[0, inf)'), nargs='+', default=[],
                        help='strengths of logit adjustment to try')
    parser.add_argument('--exponents', type=number_argument('[0, 1]'), nargs='+', default=[],
                        help='exponents of tau-normalisation to try, for a linear classifier')
    args = parser.parse_args()
    if args.normalizers and (args.taus or args.exponents):
        parser.error("--taus and --exponents are for the classifier's own normaliser: leave out --normalizers")
    if args.normalizers and args.write_config:
        parser.error("--write-config is for the classifier's own normaliser: leave out --normalizers")
    check_choice_of_alpha(parser, args)
    plots = [plot_path(args.out, name) for name in args.normalizers or NORMALIZERS] if args.out else []
    check_outputs(parser, args, args.out, args.write_config, *plots)
    return args


def plot_path(out: Path, normalizer: str) -> Path:
    return out.with_name(f'{out.stem}_{normalizer}.png')


def corrections_with_alphas(args: argparse.Namespace) -> Dict[str, List[Correction]]:
    """Return what to try besides alpha alone, by the name of its setting: each value alone and with each alpha."""
    settings = dict(tau=args.taus, exponent=args.exponents)
    return {setting: [Correction(alpha)._replace(**{setting: value})
                      for value in sorted(set(values)) for alpha in sorted({0., *args.alphas})]
            for setting, values in settings.items() if values}


def sweep_setting(layer: TDELinear, store: FeatureStore, metric: ShotAccuracy, args: argparse.Namespace,
                  setting: str, corrections: List[Correction]) -> Dict[str, Any]:
    """Sweep a setting other than alpha, and print the best value, alone and with alpha."""
    points = sweep_corrections(layer, store.features, store.labels, corrections, metric)
    alone = [point for point in points if point['alpha'] == 0]
    best_alone, best = (max(candidates, key=lambda point: point[args.select]) for candidates in (alone, points))
    print_points(alone, setting)
    with_tde = f'; with TDE, {setting} {best[setting]:g} and alpha {best["alpha"]:g} with {best[args.select]:.2f}'
    print(f'\nBest in {args.select}: {setting} {best_alone[setting]:g} with {best_alone[args.select]:.2f}'
          + (with_tde if any(args.alphas) else ''))
    return dict(chosen=best_alone[setting], chosen_with_alpha={key: best[key] for key in (setting, 'alpha')},
                sweep=points)


def draw(points: List[Dict[str, Any]], marks: Dict[str, float], path: Path) -> None:
    import matplotlib
    matplotlib.use('Agg')
    from mmcausal.visualization import draw_alpha_sweep, paper_figure, save_figure
    figure, axes = paper_figure()
    draw_alpha_sweep(axes, points, marks)
    save_figure(figure, path)


def report_sweep(layer: TDELinear, points: List[Dict[str, Any]], rules: Dict[str, float],
                 args: argparse.Namespace) -> Dict[str, float]:
    """Print and draw a sweep of alpha, and return the best alpha and that of the evenest predictions."""
    best, evenest = (max(points, key=lambda point: point[key])['alpha'] for key in (args.select, 'entropy'))
    marks = {**rules, 'largest entropy': evenest}
    print_points(points, 'alpha')
    print(f'\n{layer.normalizer}: best in {args.select} on the {args.split} split of {args.config}: alpha {best:g}. '
          'Without labels: ' + ', '.join(f'{rule} {alpha:.2f}' for rule, alpha in marks.items()))
    if args.out:
        plot = plot_path(args.out, layer.normalizer)
        own = {'config': check_correction(layer, Correction(args.config_alpha)).alpha} if args.config_alpha else {}
        draw(points, {**marks, f'best in {args.select}': best, **own}, plot)
        print(f'Plot: {plot}')
    return dict(best=best, largest_entropy=evenest)


@plain_errors()
def main() -> None:
    use_utf8()
    args = parse_args()
    runner, layer = classifier_from(args, 'sweep_alpha')
    args.alphas = sorted({check_correction(layer, Correction(alpha)).alpha for alpha in args.alphas})
    corrections = corrections_with_alphas(args)
    for correction in itertools.chain(*corrections.values()):  # before the long pass
        check_correction(layer, correction)
    dataset = dataset_to_choose_by(runner, args)
    check_held_out(runner.cfg, args.split, dataset)
    metric = selecting_metric(runner, args, dataset)
    if args.taus:
        check_class_counts(metric.counts().tolist(), layer.out_features)
    store = stored_features(runner, layer, args, dataset)

    others = {setting: sweep_setting(layer, store, metric, args, setting, grid)
              for setting, grid in corrections.items()}
    rules = auto_alphas([layer])
    sweeps, chosen = {}, {}
    for normalizer in args.normalizers or [layer.normalizer]:
        layer.normalizer = normalizer
        sweeps[normalizer] = sweep_alpha(layer, store.features, store.labels, args.alphas, metric)
        chosen[normalizer] = report_sweep(layer, sweeps[normalizer], rules, args)
    if args.out:
        write_text(args.out, json.dumps(dict(
            config=args.config, checkpoint=args.checkpoint, split=args.split, identity=store.identity,
            auto_alpha=rules.get('auto'), select=args.select, chosen=chosen, sweeps=sweeps, corrections=others),
            indent=1))
    if args.write_config:
        write_chosen(args, chosen[layer.normalizer]['best'], len(store.labels), args.classifier)


if __name__ == '__main__':
    main()
