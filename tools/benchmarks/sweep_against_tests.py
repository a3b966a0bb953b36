"""Whether a sweep over stored features predicts the class of every image as separate runs of tools/test.py do.

Give --features to keep the features and --work-dir to keep the predictions: what is there already is not run again.
"""
import argparse
import json
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from provenance import provenance

TOOLS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOOLS / 'analysis'))

from trained import (  # noqa: E402
    add_feature_arguments,
    add_model_arguments,
    alpha_argument,
    build_split,
    load_trained,
    stored_features,
)

from mmcausal.evaluation import sweep_alpha  # noqa: E402
from mmcausal.evaluation.feature_store import check_identity  # noqa: E402
from mmcausal.models import enable_tde  # noqa: E402


class Predictions:
    """In the place of a metric: the predicted classes as they are."""

    def compute_metrics(self, pairs: np.ndarray) -> Dict[str, Any]:
        return dict(predicted=pairs[:, 1])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    add_feature_arguments(parser)
    parser.add_argument('--alphas', type=alpha_argument, nargs='+', default=np.linspace(0, 3, 31).round(2).tolist())
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/sweep_against_tests'))
    parser.add_argument('--processes', type=int, default=1, help='tests at the same time')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    parser.set_defaults(split='test')  # what tools/test.py tests
    args = parser.parse_args()
    if args.split != 'test':
        parser.error('--split must be test, the split of tools/test.py')
    return args


def run_test(alpha: float, args: argparse.Namespace, changes: List[str]) -> np.ndarray:
    """The classes that tools/test.py predicts."""
    out = args.work_dir / f'alpha_{alpha:g}.pkl'
    if not out.exists():
        command = [sys.executable, str(TOOLS / 'test.py'), args.config, args.checkpoint, '--out', str(out),
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
    runner = load_trained(args, 'sweep_against_tests', untouched=True)
    layer = enable_tde(runner.model, 1., args.classifier)
    runner.load_or_resume()
    store = stored_features(runner, layer, args, build_split(runner.cfg, args.split))
    check_identity(args.work_dir, dict(store.identity, settings=changes))  # predictions of something else stay theirs
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
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(dict(
        provenance(), config=args.config, images=len(labels), dtype=args.dtype, predictions_that_differ=differ,
        sweep_seconds=seconds, rows=rows), indent=1))


if __name__ == '__main__':
    main()
