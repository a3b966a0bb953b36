"""Measure how the gain of TDE depends on the momentum of SGD.

Trains configs/cifar100_lt/deconfound_r32_ir100.py for each momentum and seed. The learning rate changes with the
momentum so that lr / (1 - momentum), the length of a step, is constant. The moving average of the features keeps the
momentum of the config, so that the direction is measured the same way in every run.

Prints, for the test images: the mean cosine of features and head direction by shot group, the accuracy without TDE, and
its change with alpha 1, which removes the whole component along the direction, and with the paper's alpha. No value is
selected. Finished trainings in the work directory are reused.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from mmengine.config import Config, DictAction

from mmcausal.analysis import collect_features, load_classifier, provenance, quiet_runner, shot_metric, sweep_alpha
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.files import write_text
from mmcausal.visualization.features import head_cosines

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs' / 'cifar100_lt' / 'deconfound_r32_ir100.py'
ALPHAS = (0., 1., 1.5)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--momenta', type=float, nargs='+', default=[0., 0.5, 0.9, 0.99])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
    parser.add_argument('--epochs', type=int, default=15)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/momentum_ablation'))
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to the config')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def train(momentum: float, args: argparse.Namespace) -> List[dict]:
    """Train with each seed, and return the results of compare_methods.py, one per seed."""
    out = args.work_dir.resolve() / f'momentum_{momentum:g}.json'
    cfg = Config.fromfile(CONFIG)
    optimizer, hooks = cfg.optim_wrapper.optimizer, [hook.type for hook in cfg.custom_hooks]
    options = {**args.cfg_options, 'optim_wrapper.optimizer.momentum': momentum,
               'optim_wrapper.optimizer.lr': round(optimizer.lr * (1 - momentum) / (1 - optimizer.momentum), 6),
               f"custom_hooks.{hooks.index('mmcausal.HeadDirectionHook')}.momentum": optimizer.momentum}
    subprocess.run([
        sys.executable, ROOT / 'tools' / 'compare_methods.py', CONFIG, '--seeds', *map(str, args.seeds),
        '--epochs', str(args.epochs), '--work-dir', args.work_dir, '--out', out, '--overwrite',
        '--cfg-options', *(f'{key}={value}' for key, value in options.items())], check=True)
    return json.loads(out.read_text(encoding='utf-8'))['rows'][0]['results']


def measure(checkpoint: Path, options: dict) -> Dict[str, Any]:
    """Return cosines by shot group, and the accuracies for each alpha, on the test images."""
    runner = quiet_runner(str(CONFIG), str(checkpoint), options, 'momentum_ablation')
    layer = load_classifier(runner)
    loader = runner.build_dataloader(runner.cfg.test_dataloader)
    features, labels = collect_features(runner.model, layer, loader)
    metric = shot_metric(runner, 'test', loader.dataset)
    cosines = head_cosines(features.numpy(), layer.mean_feature.cpu().numpy(), layer.num_heads)
    by_group = {name: float(cosines[group[labels.numpy()]].mean()) for name, group in metric.groups().items()}
    return dict(cosine=dict(by_group, all=float(cosines.mean())),
                accuracy=sweep_alpha(layer, features, labels, ALPHAS, metric))


def main() -> None:
    args = parse_args()
    rows = []
    for momentum in args.momenta:
        for result in train(momentum, args):
            checkpoint = args.work_dir / result['run'] / f'epoch_{args.epochs}.pth'
            rows.append(dict(momentum=momentum, training=result, **measure(checkpoint, args.cfg_options)))
        cells = [row for row in rows if row['momentum'] == momentum]
        cosines = {name: np.mean([row['cosine'][name] for row in cells]) for name in cells[0]['cosine']}
        accuracies = np.array([[point['overall'] for point in row['accuracy']] for row in cells])
        print(f'momentum {momentum:g}: cosine ' + ', '.join(f'{name} {value:.2f}' for name, value in cosines.items())
              + f'; accuracy {accuracies[:, 0].mean():.1f}, with TDE '
              + ', '.join(f'{gain:+.1f} (alpha {alpha:g})' for alpha, gain in
                          zip(ALPHAS[1:], (accuracies[:, 1:] - accuracies[:, :1]).mean(0))), flush=True)
        write_text(args.out, json.dumps(dict(provenance(), epochs=args.epochs, seeds=args.seeds, rows=rows), indent=1))


if __name__ == '__main__':
    main()
