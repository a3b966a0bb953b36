"""Compare whole training steps and test passes of causal models with those of their linear baselines, alternating.

Images are random, and the learning rate is 0, so that all rounds do the same. Detectors keep their best 300 detections
whatever the scores, masks included. The share of the hook is what it takes after the optimiser step: collecting sums is
a part of the forward pass.
"""
import json
from pathlib import Path
from typing import Callable, Dict, NamedTuple

import numpy as np
import torch
from alternating import alternate, peak_bytes, ratios
from measurement import measurement_arguments, measurement_parser, write_measurement
from steps import Workload, random_images, random_objects

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'


class Comparison(NamedTuple):
    """A causal config, its linear baseline, changes to both, and their batch."""
    config: str
    baseline: str
    options: dict
    make_batch: Callable[[], dict]


COMPARISONS = {
    'ResNet-32': Comparison('cifar100_lt/deconfound_r32_ir100.py', 'cifar100_lt/linear_r32_ir100.py', {},
                            lambda: random_images(256, (32, 32), 100)),
    'ResNeXt-50': Comparison('imagenet_lt/deconfound_x50_90e.py', 'imagenet_lt/linear-no-bias_x50_90e.py', {},
                             lambda: random_images(16, (224, 224), 1000)),
    'Cascade Mask R-CNN R50': Comparison(
        'lvis/cascade_tde_r101.py', 'lvis/cascade_baseline_r101.py',
        {'model.backbone.depth': 50, 'model.backbone.init_cfg': None, 'model.test_cfg.rcnn.score_thr': 0.},
        lambda: random_objects(1, (480, 640), 1203)),
}


def compare(comparison: Comparison, rounds: int) -> dict:
    """Return times, ratios and memory of a causal model and its baseline."""
    torch.manual_seed(0)
    batch = comparison.make_batch()
    options = dict(comparison.options, **{'optim_wrapper.optimizer.lr': 0.})
    baseline, causal = (Workload(CONFIGS / name, options, batch) for name in (comparison.baseline, comparison.config))
    causal.model.load_state_dict(baseline.model.state_dict(), strict=False)
    seconds = alternate(dict(linear=baseline.train, deconfound=causal.train), rounds)
    training = ratios(seconds, 'linear')
    shares = np.array(causal.hook_seconds[-rounds:]) / np.array(seconds['deconfound'])
    for name, workload in (('linear', baseline), ('deconfound', causal)):
        training[name]['peak_megabytes'] = round(peak_bytes(workload.train) / 2**20, 1)
    tests: Dict[str, Callable[[], None]] = {
        'linear': baseline.test_with(0.), 'total effect': causal.test_with(0.), 'TDE': causal.test_with(1.)}
    return dict(training=training, hook_share=round(float(np.median(shares)), 6),
                testing=ratios(alternate(tests, rounds), 'linear'))


def main() -> None:
    parser = measurement_parser(__doc__, rounds=15)
    parser.add_argument('--models', nargs='+', choices=COMPARISONS, default=list(COMPARISONS))
    args = measurement_arguments(parser)
    if any('R-CNN' in name for name in args.models):
        from mmdet.utils import register_all_modules
        register_all_modules(init_default_scope=False)
    results = {}
    for name in args.models:
        results[name] = compare(COMPARISONS[name], args.rounds)
        print(json.dumps({name: results[name]}), flush=True)
    write_measurement(args, models=results)


if __name__ == '__main__':
    main()
