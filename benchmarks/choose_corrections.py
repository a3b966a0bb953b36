"""Choose corrections of a classifier on held-out images, and test each choice under three class priors.

For TDE (alpha), logit adjustment (tau), tau-normalisation (exponent, of linear classifiers) and their pairs with TDE,
the values with the best expected accuracy are chosen on the validation split of HOLDOUT_CONFIG, with a checkpoint
trained without these images. They are applied to a checkpoint of the same recipe on the test split of CONFIG.
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
    check_correction,
    collect_features,
    load_classifier,
    provenance,
    quiet_runner,
    shot_metric,
    sweep_corrections,
)
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.evaluation import ShotAccuracy
from mmcausal.files import write_text
from mmcausal.models import TDELinear

ALPHAS, TAUS, EXPONENTS = (np.linspace(0, high, steps).round(3).tolist()
                           for high, steps in ((3, 31), (3, 31), (1, 21)))
PRIORS = ('balanced', 'train', 'reversed')


class ExpectedAccuracy(ShotAccuracy):
    """Report the expected accuracy in percent under each of PRIORS."""

    def compute_metrics(self, results: np.ndarray) -> Dict[str, float]:  # type: ignore[override]
        found = {}
        for prior in PRIORS:
            self.class_prior = np.ones(len(self.counts())) if prior == 'balanced' else prior
            found[prior] = float(super().compute_metrics(results)['prior'])  # type: ignore[arg-type]
        return found


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('holdout_config')
    parser.add_argument('holdout_checkpoint')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to both configs')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def load(config: str, checkpoint: str, split: str, options: dict) -> Tuple[TDELinear, Tensor, Tensor, ExpectedAccuracy]:
    """Return the classifier layer, the features and labels of a split, and the metric."""
    runner = quiet_runner(config, checkpoint, options, 'choose_corrections')
    layer, dataset = load_classifier(runner), build_split(runner.cfg, split)
    check_correction(layer, Correction('auto'))  # refuses a checkpoint without a direction, before the long pass
    loader = runner.build_dataloader(dict(runner.cfg[f'{split}_dataloader'], dataset=dataset))
    metric = ExpectedAccuracy(class_counts=shot_metric(runner, split, dataset).counts())
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
    layer, features, labels, metric = load(args.holdout_config, args.holdout_checkpoint, 'val', args.cfg_options)
    tested = load(args.config, args.checkpoint, 'test', args.cfg_options)
    rows, start, tried = [], time.perf_counter(), 0
    for method, corrections in grids(layer).items():
        points = sweep_corrections(layer, features, labels, corrections, metric)
        tried += len(points)
        for prior in PRIORS:
            best = max(points, key=lambda point, prior=prior: point[prior])  # type: ignore[misc]
            chosen = Correction(best['alpha'], best['exponent'], best['tau'])  # type: ignore[arg-type]
            accuracy, = sweep_corrections(*tested[:3], [chosen], tested[3])
            rows.append(dict(method=method, prior=prior, chosen=chosen._asdict(), held_out=best[prior],
                             test=accuracy[prior]))
            print(f'{method}, {prior}: {chosen}, held-out {best[prior]:.1f}, test {accuracy[prior]:.1f}', flush=True)
    # Without a choice: the rule alpha='auto', and tau = 1
    for method, correction in (('TDE, auto', Correction('auto')), ('logit adjustment, tau 1', Correction(tau=1.))):
        point, = sweep_corrections(*tested[:3], [correction], tested[3])
        rows.append(dict(method=method, chosen=dict(alpha=point['alpha'], tau=point['tau']),
                         test={prior: point[prior] for prior in PRIORS}))
        print(rows[-1], flush=True)
    write_text(args.out, json.dumps(dict(
        provenance(), corrections_tried=tried, seconds=round(time.perf_counter() - start, 1), rows=rows), indent=1))


if __name__ == '__main__':
    main()
