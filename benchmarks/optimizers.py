"""Compare optimisers for the linear and the de-confounded classifier, by short trainings.

Prints, for the test images: the accuracy without TDE and with alpha='auto', which needs no images to choose it; the
mean cosine of features and head direction; the mean length of the class weights by shot group. Finished trainings in
the work directory are reused.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

from mmengine.config import DictAction

from mmcausal.analysis import (
    auto_alphas,
    collect_features,
    load_classifier,
    provenance,
    quiet_runner,
    shot_metric,
    sweep_alpha,
)
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.files import write_text

ROOT = Path(__file__).resolve().parents[1]
CIFAR = ROOT / 'configs' / 'cifar100_lt'
OPTIMIZERS: Dict[str, Dict[str, Any]] = {
    'sgd': {},  # of the config
    'adamw': dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    'adam': dict(type='Adam', lr=1e-3, weight_decay=5e-4),
    'adam_lr_of_sgd': dict(type='Adam', lr=0.1, weight_decay=5e-4),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--optimizers', choices=list(OPTIMIZERS), nargs='+', default=list(OPTIMIZERS))
    parser.add_argument('--configs', type=Path, nargs='+',
                        default=[CIFAR / 'linear_r32_ir100.py', CIFAR / 'deconfound_r32_ir100.py'])
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/optimizers'))
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    add_overwrite_argument(parser)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to the configs')
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def write_config(base: Path, optimizer: str, work_dir: Path) -> Path:
    """Write a config with another optimiser."""
    lines = [f'_base_ = {str(base.resolve())!r}']
    if OPTIMIZERS[optimizer]:
        lines.append(f'optim_wrapper = dict(optimizer=dict(_delete_=True, **{OPTIMIZERS[optimizer]!r}))')
    config = work_dir / f'{base.stem}_{optimizer}.py'
    write_text(config, '\n'.join([*lines, '']))
    return config


def train(config: Path, args: argparse.Namespace) -> dict:
    """Train and return the result of compare_methods.py."""
    out = config.with_suffix('.json')
    options = [f'{key}={value}' for key, value in args.cfg_options.items()]
    subprocess.run([
        sys.executable, ROOT / 'tools' / 'compare_methods.py', config, '--seeds', str(args.seed),
        '--epochs', str(args.epochs), '--work-dir', args.work_dir, '--out', out, '--overwrite',
        *(['--cfg-options', *options] if options else [])], check=True)
    return json.loads(out.read_text(encoding='utf-8'))['rows'][0]['results'][0]


def measure(config: Path, checkpoint: Path, options: dict) -> Dict[str, Any]:
    """Return mean cosine, weight lengths by shot group, and the accuracies without TDE and with alpha='auto'."""
    runner = quiet_runner(str(config), str(checkpoint), options, 'optimizers')
    layer = load_classifier(runner)
    loader = runner.build_dataloader(runner.cfg.test_dataloader)
    features, labels = collect_features(runner.model, layer, loader)
    metric = shot_metric(runner, 'test', loader.dataset)
    alphas = [0., *auto_alphas([layer]).values()]
    lengths = layer.weight.detach().norm(dim=1).cpu().numpy()
    return dict(cosine=float(layer.mean_cosine),
                weight_length={name: float(lengths[group].mean()) for name, group in metric.groups().items()},
                accuracy=sweep_alpha(layer, features, labels, alphas, metric))


def main() -> None:
    args = parse_args()
    args.work_dir = args.work_dir.resolve()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    rows = []
    for optimizer in args.optimizers:
        for base in args.configs:
            config = write_config(base, optimizer, args.work_dir)
            training = train(config, args)
            checkpoint = args.work_dir / training['run'] / f'epoch_{args.epochs}.pth'
            rows.append(dict(optimizer=optimizer, settings=OPTIMIZERS[optimizer], config=base.stem, training=training,
                             **measure(config, checkpoint, args.cfg_options)))
            accuracies = ', '.join(f'{p["overall"]:.1f} (alpha {p["alpha"]:.2f})' for p in rows[-1]['accuracy'])
            print(f'{base.stem} by {optimizer}: {accuracies}; cosine {rows[-1]["cosine"]:.2f}, weight lengths '
                  + ', '.join(f'{name} {value:.2f}' for name, value in rows[-1]['weight_length'].items()), flush=True)
            content = dict(provenance(), epochs=args.epochs, seed=args.seed, rows=rows)
            write_text(args.out, json.dumps(content, indent=1))


if __name__ == '__main__':
    main()
