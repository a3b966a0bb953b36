"""Choose corrections of a classifier on held-out images, and test each choice under three class priors.

For TDE (alpha), logit adjustment (tau), tau-normalisation (exponent, of linear classifiers) and their pairs with TDE,
the values with the best expected accuracy are chosen on the validation split of HOLDOUT_CONFIG, with a checkpoint that
was trained without these images. They are applied to a checkpoint of the same recipe on the test split of CONFIG.
Expected accuracies are mean class accuracies under a uniform prior, the training frequencies, and their reciprocals.
If a checkpoint has no head direction, estimate it first with tools/analysis/estimate_direction.py.
"""
import argparse
import json
import time
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
from mmengine.config import DictAction
from torch import Tensor

from mmcausal.analysis import (
    Correction,
    build_split,
    collect_features,
    load_classifier,
    provenance,
    quiet_runner,
    shot_metric,
    sweep_corrections,
)
from mmcausal.evaluation import ShotAccuracy
from mmcausal.models import TDELinear

ALPHAS, TAUS, EXPONENTS = (np.linspace(0, high, steps).round(3).tolist()
                           for high, steps in ((3, 31), (3, 31), (1, 21)))
PRIORS = ('balanced', 'train', 'reversed')


class ExpectedAccuracy:
    """Report the expected accuracy in percent under each of PRIORS, in place of a metric."""

    def __init__(self, metric: ShotAccuracy) -> None:
        self.metric = metric

    def counts(self) -> np.ndarray:
        return self.metric.counts()

    def compute_metrics(self, pairs: np.ndarray) -> Dict[str, float]:
        result = {}
        for prior in PRIORS:
            self.metric.class_prior = np.ones(len(self.counts())) if prior == 'balanced' else prior
            result[prior] = float(self.metric.compute_metrics(pairs)['prior'])  # type: ignore[arg-type]
        return result


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('holdout_config')
    parser.add_argument('holdout_checkpoint')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to both configs')
    return parser.parse_args()


def load(config: str, checkpoint: str, split: str, options: dict) -> Tuple[TDELinear, Tensor, Tensor, ExpectedAccuracy]:
    """Return the classifier layer, the features and labels of a split, and the metric."""
    runner = quiet_runner(config, checkpoint, options, 'choose_corrections')
    layer, dataset = load_classifier(runner), build_split(runner.cfg, split)
    loader = runner.build_dataloader(dict(runner.cfg[f'{split}_dataloader'], dataset=dataset))
    metric = ExpectedAccuracy(shot_metric(runner, split, dataset))
    return (layer, *collect_features(runner.model, layer, loader), metric)


def grids(layer: TDELinear) -> Dict[str, List[Correction]]:
    """Return the corrections to choose from, by method."""
    found = {
        'none': [Correction()],
        'TDE': [Correction(alpha) for alpha in ALPHAS],
        'logit adjustment': [Correction(tau=tau) for tau in TAUS],
        'TDE and logit adjustment': [Correction(alpha, tau=tau) for alpha in ALPHAS for tau in TAUS],
    }
    if layer.normalizer == 'linear':
        found['tau-normalisation'] = [Correction(exponent=exponent) for exponent in EXPONENTS]
        found['TDE and tau-normalisation'] = [Correction(alpha, exponent) for alpha in ALPHAS for exponent in EXPONENTS]
    return found


def main() -> None:
    args = parse_args()
    layer, *held_out = load(args.holdout_config, args.holdout_checkpoint, 'val', args.cfg_options)
    tested_layer, *test = load(args.config, args.checkpoint, 'test', args.cfg_options)
    rows, start, tried = [], time.perf_counter(), 0
    for method, corrections in grids(layer).items():
        points = sweep_corrections(layer, *held_out[:2], corrections, held_out[2])  # type: ignore[arg-type]
        tried += len(points)
        for prior in PRIORS:
            best = max(points, key=lambda point, prior=prior: point[prior])  # type: ignore[misc]
            chosen = Correction(best['alpha'], best['exponent'], best['tau'])  # type: ignore[arg-type]
            accuracy, = sweep_corrections(tested_layer, *test[:2], [chosen], test[2])  # type: ignore[arg-type]
            rows.append(dict(method=method, prior=prior, chosen=chosen._asdict(), held_out=best[prior],
                             test=accuracy[prior]))
            print(f'{method}, {prior}: {chosen}, held-out {best[prior]:.1f}, test {accuracy[prior]:.1f}', flush=True)
    # Without a choice: the rule alpha='auto', and tau = 1
    for method, correction in (('TDE, auto', Correction('auto')), ('logit adjustment, tau 1', Correction(tau=1.))):
        point, = sweep_corrections(tested_layer, *test[:2], [correction], test[2])  # type: ignore[arg-type]
        rows.append(dict(method=method, chosen=dict(alpha=point['alpha'], tau=point['tau']),
                         test={prior: point[prior] for prior in PRIORS}))
        print(rows[-1], flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(dict(
        provenance(), corrections_tried=tried, seconds=round(time.perf_counter() - start, 1), rows=rows), indent=1))


if __name__ == '__main__':
    main()
