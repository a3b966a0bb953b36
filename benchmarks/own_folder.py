"""Take long-tailed CIFAR-10, written as a folder of PNG files, through the guide for your own data.

The folder is what people have: class names with spaces and accents, the validation images in a folder of their own,
in which one class is missing. Trains the linear baseline and the de-confounded classifier with the configs that the
guide writes, chooses alpha on the validation images, and tests the baseline, the total effect and TDE on the test
images. Finished trainings in the work directory are reused.
"""
import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

import cv2
from mmengine.config import DictAction

from mmcausal.analysis import provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.datasets import LongTailedCIFAR10
from mmcausal.files import write_bytes, write_text

ROOT = Path(__file__).resolve().parents[1]
NAMES = ('avión', 'sports car', 'птица', 'cat', 'cerf élaphe', 'dog & puppy', 'grenouille', 'horse',
         'cargo ship', '卡车 truck')
MISSING = 'grenouille'  # in the validation folder
VAL_PER_CLASS = 25
BASELINE = '''_base_ = __import__('mmcausal').config_path('own_data/linear_r32.py')
model = __import__('mmcausal').with_num_classes(_base_.model, 10)
data_preprocessor = dict(num_classes=10)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(data_root={root!r}))
val_evaluator = test_evaluator = [dict(type='Accuracy'), dict(type='mmcausal.ShotAccuracy', many=1000, few=200)]
'''
GROUPS = ('many', 'medium', 'few', 'overall')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cifar', type=Path, help='folder that contains cifar-10-batches-py/')
    parser.add_argument('--md5', nargs='+', action=DictAction, default={}, help='sums of files that are not official')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/own_folder'))
    parser.add_argument('--epochs', type=int, default=15)
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='changes to the trainings')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    return args


def write_folder(args: argparse.Namespace, root: Path) -> Dict[str, int]:
    """Write the images of all splits, and return their numbers."""
    numbers = {}
    for split in ('train', 'val', 'test'):
        dataset = LongTailedCIFAR10(split, 100, val_per_class=VAL_PER_CLASS, md5=args.md5, data_root=str(args.cifar))
        numbers[split] = 0
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            name = NAMES[info['gt_label']]
            if split == 'val' and name == MISSING:
                continue
            path = root / split / name / f'{split} {index:05d}.png'
            if not path.exists():
                write_bytes(path, cv2.imencode('.png', info['img'][..., ::-1])[1].tobytes())
            numbers[split] += 1
    return numbers


def run(*command: object) -> str:
    """Run a tool, and return its output."""
    words = [sys.executable, *map(str, command)]
    print(' '.join(words[1:4]), flush=True)
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stdout[-3000:])
    return done.stdout


def train(config: Path, args: argparse.Namespace) -> float:
    """Train a config unless that is done; return the seconds."""
    start = time.time()
    if not (config.parent / config.stem / f'epoch_{args.epochs}.pth').exists():
        run('tools/train.py', config, '--work-dir', config.parent / config.stem, '--cfg-options',
            f'train_cfg.max_epochs={args.epochs}', f'train_cfg.val_interval={args.epochs}',
            f'param_scheduler.T_max={args.epochs}', 'randomness.seed=0', *args.cfg_options)
    return round(time.time() - start, 1)


def test(config: Path, checkpoint: Path) -> Dict[str, float]:
    """Return the accuracies of the test images by shot group, in percent."""
    out = config.with_suffix('.metrics.json')
    run('tools/test.py', config, checkpoint, '--work-dir', config.parent / 'test', '--out', out,
        '--out-item', 'metrics')
    metrics = json.loads(out.read_text(encoding='utf-8'))
    return {group: round(metrics[f'shot/{group}'], 2) for group in GROUPS}


def main() -> None:
    args = parse_args()
    work_dir = args.work_dir.resolve()
    root = work_dir / 'mes images & données'
    numbers = write_folder(args, root)
    print(numbers, flush=True)
    baseline, deconfound, tde = (work_dir / f'{name}.py' for name in ('baseline', 'deconfound', 'tde'))
    text = BASELINE.format(root=str(root))
    write_text(baseline, text)
    write_text(deconfound, text.replace('linear_r32', 'deconfound_r32'))
    seconds = {config.stem: train(config, args) for config in (baseline, deconfound)}
    last = f'epoch_{args.epochs}.pth'
    checkpoints = {config: config.parent / config.stem / last for config in (baseline, deconfound)}
    sweep: List[str] = run('tools/analysis/sweep_alpha.py', deconfound, checkpoints[deconfound], '--features',
                           work_dir / 'features', '--write-config', tde, '--overwrite').splitlines()
    results = dict(linear=test(baseline, checkpoints[baseline]), deconfound=test(deconfound, checkpoints[deconfound]),
                   tde=test(tde, checkpoints[deconfound]))
    alpha = float(re.search(r'alpha=([0-9.]+)', tde.read_text(encoding='utf-8')).group(1))
    print(json.dumps(results, indent=1), f'alpha {alpha}')
    write_text(args.out, json.dumps(dict(
        provenance(), command=sys.argv, classes=NAMES, missing_in_validation=MISSING, images=numbers,
        epochs=args.epochs, seconds_to_train=seconds, alpha_chosen_on_validation=alpha, test=results,
        sweep=sweep[-40:]), indent=1, ensure_ascii=False))


if __name__ == '__main__':
    main()
