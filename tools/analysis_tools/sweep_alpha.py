"""Accuracy of a trained classifier over alpha, by which to choose it: on validation images, never on test images.

Besides the accuracies it prints the two rules that need no label: alpha='auto' (alpha * mean cosine = 1) and the alpha
at which the mean prediction has the largest entropy, which supposes balanced images.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner

from mmcausal.evaluation import ShotAccuracy, collect_features, sweep_alpha
from mmcausal.models import enable_tde


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='a checkpoint with a head direction')
    parser.add_argument('--split', choices=['val', 'test'], default='val', help='dataloader of the config; default val')
    parser.add_argument('--alphas', type=float, nargs='+', default=np.arange(0, 2.51, 0.25).tolist())
    parser.add_argument('--classifier', default='head.fc', help='name of the linear layer')
    parser.add_argument('--out', type=Path, help='JSON file for the results')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to the config')
    return parser.parse_args()


def find_shot_metric(evaluator: Evaluator) -> ShotAccuracy:
    metrics = [metric for metric in evaluator.metrics if isinstance(metric, ShotAccuracy)]
    if not metrics:
        sys.exit("The config's evaluator has no mmcausal.ShotAccuracy, which knows the class counts and shot groups")
    return metrics[0]


def main() -> None:
    args = parse_args()
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.split == 'val':
        cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    cfg.work_dir = str(Path('work_dirs') / 'sweep_alpha')  # the training's own config stays
    cfg.load_from = args.checkpoint
    cfg.log_level = 'WARNING'
    runner = Runner.from_cfg(cfg)
    layer = enable_tde(runner.model, 'auto', args.classifier)
    runner.load_or_resume()
    runner.model.eval()
    auto_alpha = layer.resolved_alpha()  # also refuses a checkpoint without a direction, before the long pass

    dataloader = runner.build_dataloader(cfg.test_dataloader)
    metric = find_shot_metric(runner.build_evaluator(cfg.test_evaluator))
    metric.dataset_meta = dataloader.dataset.metainfo
    metric.classwise = False
    points = sweep_alpha(layer, *collect_features(runner.model, layer, dataloader), args.alphas, metric)

    groups = [key for key in points[0] if key not in ('alpha', 'entropy')]
    print('\n' + f'{"alpha":>7}' + ''.join(f'{group:>10}' for group in groups) + f'{"entropy":>10}')
    for point in points:
        print(f'{point["alpha"]:>7.2f}' + ''.join(f'{point[group]:>10.2f}' for group in groups) +
              f'{point["entropy"]:>10.3f}')
    most_even = max(points, key=lambda point: point['entropy'])['alpha']
    print(f"\nWithout labels: alpha='auto' is {auto_alpha:.2f}, the largest entropy is at alpha {most_even:.2f}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(dict(auto_alpha=auto_alpha, entropy_alpha=most_even, points=points), indent=1))


if __name__ == '__main__':
    main()
