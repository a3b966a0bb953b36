"""Measure whether TDE helps the rare classes of a detector, on long-tailed shapes with a few seeds.

For each seed, generates the images, trains configs/shapes_lvis/cascade_baseline_r18.py and cascade_tde_r18.py, and
tests them: the baseline, de-confound (alpha 0), de-confound-TDE (also with alpha='auto'), and TDE without background
exemption. Finished trainings in the work directory are reused, so use another directory for other options. Generated
images are not a benchmark.
"""
import argparse
import json
from pathlib import Path

from four_ways import CONFIGS, print_table, test_four_ways, trainings
from mmengine.config import Config, DictAction

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.datasets.shapes import make_shapes_dataset
from mmcausal.files import write_text


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/shapes_table'))
    parser.add_argument('--out', type=Path, help='JSON file for the results')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to all configs')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def make_config(kind: str, data: Path, changes: dict) -> Config:
    cfg = Config.fromfile(CONFIGS / 'shapes_lvis' / f'cascade_{kind}_r18.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = str(data)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(data / 'annotations' / 'shapes_val.json')
    cfg.merge_from_dict(changes)
    return cfg


def main() -> None:
    args = parse_args()
    results, logs = [], []
    for seed in args.seeds:
        data = args.work_dir / f'data_{seed}'
        if not (data / 'annotations' / 'shapes_val.json').exists():
            make_shapes_dataset(data, seed=seed)
        results.append(test_four_ways(lambda kind, data=data: make_config(kind, data, args.cfg_options), seed,
                                      args.work_dir))
        logs.append(trainings(args.work_dir, seed))
    print_table(results, ('APr', 'APc', 'APf', 'AP'))
    for seed, log in zip(args.seeds, logs):
        print(f'seed {seed}: ' + ', '.join(f'{kind} trained in {log[kind]["minutes"]} minutes' for kind in log))
    if args.out:
        write_text(args.out, json.dumps(dict(provenance(), seeds=args.seeds, results=results, trainings=logs),
                                        indent=1))


if __name__ == '__main__':
    main()
