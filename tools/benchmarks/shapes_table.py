"""Does TDE help rare classes of a detector? Long-tailed shapes, four ways, a few seeds.

For each seed it generates the images, trains configs/shapes_lvis/cascade_baseline_r18.py and cascade_tde_r18.py, and
tests four ways: the baseline, de-confound (alpha 0), de-confound-TDE, and TDE without background exemption. What is
already trained in the work directory is not trained again; other options want another directory. Generated images are
no benchmark.
"""
import argparse
import json
import time
from pathlib import Path
from typing import Dict, List

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from mmcausal.datasets.shapes import make_shapes_dataset

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'shapes_lvis'
TDE = 'cascade_tde_r18'
CLASSIFIER = 'model.roi_head.classifier'
# row of the table: config that is trained, changes at test time
ROWS = {
    'baseline': ('cascade_baseline_r18', {}),
    'de-confound': (TDE, {f'{CLASSIFIER}.alpha': 0.}),
    'de-confound-TDE': (TDE, {}),
    'TDE, background not exempted': (TDE, {f'{CLASSIFIER}.exempt_background': False}),
    "de-confound-TDE, alpha='auto'": (TDE, {f'{CLASSIFIER}.alpha': 'auto'}),
}
FIGURES = ('APr', 'APc', 'APf', 'AP')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/shapes_table'))
    parser.add_argument('--out', type=Path, help='JSON file for the results')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to all configs')
    return parser.parse_args()


def build_runner(name: str, data: Path, work_dir: Path, changes: dict) -> Runner:
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.merge_from_dict(changes)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = str(data)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(data / 'annotations' / 'shapes_val.json')
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'{work_dir.name}_{time.time_ns()}'
    return Runner.from_cfg(cfg)


def trained(name: str, seed: int, data: Path, args: argparse.Namespace) -> Path:
    """The last checkpoint of a config for one seed."""
    work_dir = args.work_dir / f'{name}_{seed}'
    changes = {'randomness.seed': seed, 'default_hooks.checkpoint.max_keep_ckpts': 1, **args.cfg_options}
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.merge_from_dict(args.cfg_options)
    last = work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    if not last.exists():
        build_runner(name, data, work_dir, {**changes, 'resume': True}).train()
    return last


def test(row: str, seed: int, data: Path, args: argparse.Namespace) -> Dict[str, float]:
    name, changes = ROWS[row]
    checkpoint = trained(name, seed, data, args)
    runner = build_runner(name, data, args.work_dir / f'test_{seed}',
                          {**args.cfg_options, **changes, 'load_from': str(checkpoint)})
    return {key.split('/')[-1]: 100 * value for key, value in runner.test().items()}


def print_table(results: Dict[str, List[Dict[str, float]]], kind: str) -> None:
    print(f'\n{kind}, mean ± standard deviation over {len(results["baseline"])} seeds')
    print(f'{"":<30}' + ''.join(f'{figure:>14}' for figure in FIGURES))
    for row, seeds in results.items():
        values = np.array([[result[f'{kind}_{figure}'] for figure in FIGURES] for result in seeds])
        spread = values.std(0, ddof=1) if len(values) > 1 else np.zeros(len(FIGURES))
        print(f'{row:<30}' + ''.join(f'{mean:>8.1f} ± {std:<3.1f}' for mean, std in zip(values.mean(0), spread)))


def main() -> None:
    args = parse_args()
    results: Dict[str, List[Dict[str, float]]] = {row: [] for row in ROWS}
    for seed in args.seeds:
        data = args.work_dir / f'data_{seed}'
        if not (data / 'annotations' / 'shapes_val.json').exists():
            make_shapes_dataset(data, seed=seed)
        for row in ROWS:
            results[row].append(test(row, seed, data, args))
    for kind in ('bbox', 'segm'):
        print_table(results, kind)
    if args.out:
        args.out.write_text(json.dumps(dict(seeds=args.seeds, results=results), indent=1))


if __name__ == '__main__':
    main()
