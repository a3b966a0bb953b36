"""Compare a sweep over stored features with separate runs of tools/test.py, image by image.

The tool reuses the features in --features and the predictions in --work-dir.
"""
import argparse
import json
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
from mmengine.config import DictAction

from mmcausal.analysis import (
    FeatureStore,
    build_split,
    check_identity,
    complete_features,
    features_folder,
    identity_of,
    load_classifier,
    provenance,
    quiet_runner,
    sweep_alpha,
)
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.files import write_text
from mmcausal.models import TDELinear

TEST = Path(__file__).resolve().parents[1] / 'tools' / 'test.py'


class Predictions:
    """Stand in for a metric, and return the predicted classes."""

    def compute_metrics(self, pairs: np.ndarray) -> Dict[str, Any]:
        return dict(predicted=pairs[:, 1])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--classifier', default='head.fc', help='name of the linear layer')
    parser.add_argument('--features', type=Path, help='folder of stored features')
    parser.add_argument('--dtype', choices=['float32', 'float16'], default='float32', help='type of stored features')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='changes to the config; the last option')
    parser.add_argument('--alphas', type=float, nargs='+', default=np.linspace(0, 3, 31).round(2).tolist())
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/sweep_against_tests'))
    parser.add_argument('--processes', type=int, default=1, help='tests at the same time')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def test_features(args: argparse.Namespace) -> Tuple[TDELinear, FeatureStore]:
    """Return the classifier layer and the features of the test split, the split of tools/test.py."""
    runner = quiet_runner(args.config, args.checkpoint, args.cfg_options, 'sweep_against_tests')
    layer, dataset = load_classifier(runner, args.classifier), build_split(runner.cfg, 'test')
    identity = dict(identity_of(runner.cfg, 'test', args.checkpoint, dataset), classifier=args.classifier)
    folder = args.features or features_folder(args.config, 'test', args.dtype, identity)
    store = FeatureStore(folder, identity, len(dataset), layer.in_features, args.dtype)
    complete_features(store, runner, layer, 'test', dataset)
    return layer, store


def run_test(alpha: float, args: argparse.Namespace, changes: List[str]) -> np.ndarray:
    """Return the classes that tools/test.py predicts."""
    out = args.work_dir / f'alpha_{alpha:g}.pkl'
    if not out.exists():
        command = [sys.executable, str(TEST), args.config, args.checkpoint, '--out', str(out),
                   '--out-item', 'pred', '--work-dir', str(args.work_dir / f'alpha_{alpha:g}'),
                   '--cfg-options', *changes, f'model.head.alpha={alpha}']
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(f'tools/test.py failed with alpha {alpha:g}:\n{done.stdout[-2000:]}')
        print(f'alpha {alpha:g} tested', flush=True)
    with open(out, 'rb') as file:
        return np.array([int(sample['pred_label']) for sample in pickle.load(file)])


def main() -> None:
    words = sys.argv[1:]
    args = parse_args()
    changes = words[words.index('--cfg-options') + 1:] if '--cfg-options' in words else []  # the last option, as text
    if any(word.startswith('--') for word in changes):
        sys.exit('--cfg-options must be the last of the options')
    args.work_dir.mkdir(parents=True, exist_ok=True)
    layer, store = test_features(args)
    check_identity(args.work_dir, dict(store.identity, settings=' '.join(changes)))  # no predictions of another model
    start = time.perf_counter()
    points = sweep_alpha(layer, store.features, store.labels, args.alphas, Predictions())  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    with ThreadPoolExecutor(args.processes) as pool:
        tested = list(pool.map(lambda alpha: run_test(alpha, args, changes), args.alphas))

    labels = np.asarray(store.labels)
    rows = [dict(alpha=alpha, top1=100 * float((predicted == labels).mean()),
                 images_that_differ=int((predicted != point['predicted']).sum()))
            for alpha, predicted, point in zip(args.alphas, tested, points)]
    differ = sum(row['images_that_differ'] for row in rows)
    print(f'{len(rows)} alphas x {len(labels)} images: {differ} predictions differ; sweep {seconds:.2f} s')
    write_text(args.out, json.dumps(dict(
        provenance(), config=args.config, images=len(labels), dtype=args.dtype, predictions_that_differ=differ,
        sweep_seconds=seconds, rows=rows), indent=1))


if __name__ == '__main__':
    main()
