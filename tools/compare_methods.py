"""Train and test methods under one protocol, and print a table of configs x seeds beside the published accuracies.

Runs one process after another, or SLURM jobs, and skips finished trainings and tests. Configs that train alike, such as
a classifier with and without TDE, share a training. A second stage starts from the first stage of its seed, which is
trained first. --epochs scales the schedules of first stages; second stages keep their own. Failures are reported at the
end and do not affect other rows. The name of a run's folder depends on everything that its training depends on, so runs
with other epochs, data or options never meet. The published accuracy is left out of a row with another schedule,
number of images per step or setting, be it changed by an option or in the config file. Mixed precision is no other
setting. Configs whose source has another recipe have no published accuracy, see docs/deviations.md.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

import numpy as np
from mmengine.config import Config

from mmcausal.analysis import commit, hash_config, machine, provenance
from mmcausal.commands import (
    add_options_argument,
    add_overwrite_argument,
    check_outputs,
    integer_argument,
    plain_errors,
)
from mmcausal.config_files import errors_naming, merge_options, read_config
from mmcausal.encoding import use_utf8
from mmcausal.files import write_text
from mmcausal.text import markdown_code

TOOLS = Path(__file__).resolve().parent
PUBLISHED = json.loads((Path(__file__).parent / 'published.json').read_text(encoding='utf-8'))
# Columns of the table and the metrics behind them: accuracies in percent, average precisions as fractions
SHOTS = {name: f'shot/{name}' for name in ('many', 'medium', 'few', 'overall')}
PRECISIONS = {'mask AP': ('lvis/segm_AP', 'coco/segm_mAP'), 'mask AP50': ('lvis/segm_AP50', 'coco/segm_mAP_50'),
              'mask AP75': ('lvis/segm_AP75', 'coco/segm_mAP_75'),
              **{f'mask {name}': (f'lvis/segm_{name}', f'coco/segm_{name}') for name in ('APr', 'APc', 'APf')},
              'box AP': ('lvis/bbox_AP', 'coco/bbox_mAP')}
TRAINING = ('model', 'data_preprocessor', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg',
            'default_hooks', 'custom_hooks', 'auto_scale_lr', 'randomness', 'load_from')
TESTING = ('model', 'test_dataloader', 'test_evaluator')
# Parts of a config that leave its setting as it is, if the number of images per step stays too
NEUTRAL = ('data_root', 'data_prefix', 'num_workers', 'persistent_workers', 'md5', 'val_interval',
           'accumulative_counts')
# Optimiser wrappers that take the same steps, up to rounding
SAME_STEPS = ('OptimWrapper', 'AmpOptimWrapper', 'mmcausal.CPUAmpOptimWrapper')
# Of the hosts' schedules and hooks. Under by_epoch=False they count iterations, of which there are as many fewer.
EPOCH_KEYS = ('max_epochs', 'begin', 'end', 'milestones', 'T_max', 'step_size', 'periods', 'total_steps',
              'action_epoch', 'begin_epoch', 'begin_iter', 'switch_epoch', 'num_last_epochs')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', type=Path, nargs='+')
    parser.add_argument('--seeds', type=integer_argument(0), nargs='+', default=[0])
    parser.add_argument('--epochs', type=int, help="epochs of first stages; default: the configs' own")
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/table'))
    parser.add_argument('--out', type=Path, help='JSON file for the results; a Markdown table is written beside it')
    add_overwrite_argument(parser)
    parser.add_argument('--launcher', choices=['none', 'slurm'], default='none')
    parser.add_argument('--partition', help='SLURM partition')
    add_options_argument(parser, 'changes to all configs')
    args = parser.parse_args()
    missing = [str(path) for path in args.configs if not path.exists()]
    if missing:
        parser.error(f'no such config: {", ".join(missing)}')
    if args.epochs is not None and args.epochs < 1:
        parser.error(f'epochs must be at least 1, but got {args.epochs}')
    if (args.launcher == 'slurm') != (args.partition is not None):
        parser.error('--launcher slurm needs --partition, and --partition needs --launcher slurm')
    check_outputs(parser, args, args.out, args.out and args.out.with_suffix('.md'))
    return args


def scale_epochs(value: Any, factor: float) -> Any:
    """Return a part of a config with all numbers of epochs times ``factor``, but at least 1 if they were."""
    if isinstance(value, (list, tuple)):
        return [scale_epochs(item, factor) for item in value]
    if not isinstance(value, dict):
        return value
    scaled = {}
    for key, item in value.items():
        if key in EPOCH_KEYS and isinstance(item, (int, list, tuple)) and not isinstance(item, bool):
            numbers = [max(round(n * factor), min(n, 1)) for n in ([item] if isinstance(item, int) else item)]
            scaled[key] = numbers[0] if isinstance(item, int) else numbers
        else:
            scaled[key] = scale_epochs(item, factor)
    return scaled


def load_config(path: Path, seed: int, args: argparse.Namespace) -> Config:
    """Load a config with the seed, options and number of epochs of this table."""
    cfg = read_config(path, needs=['model'])
    cfg.setdefault('train_cfg', None)
    if 'max_iters' in (cfg.train_cfg or {}):
        raise ValueError(f'{path} must train by epochs, but has train_cfg.max_iters={cfg.train_cfg.max_iters}')
    merge_options(cfg, {key: value for key, value in args.cfg_options.items() if _has(cfg, key)}, path)
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    if args.epochs and 'max_epochs' in (cfg.train_cfg or {}) and stage_one_of(path, cfg) is None:
        factor = args.epochs / cfg.train_cfg.max_epochs
        for part in ('train_cfg', 'param_scheduler', 'custom_hooks', 'train_dataloader'):
            if cfg.get(part) is not None:
                cfg[part] = scale_epochs(cfg[part].to_dict() if hasattr(cfg[part], 'to_dict') else cfg[part], factor)
    return cfg


def _has(cfg: Config, key: str) -> bool:
    """Return whether the config has the part inside which an option changes something: without training, some lack."""
    part, dot, _ = key.partition('.')
    return not dot or cfg.get(part, {}) is not None


def stage_one_of(path: Path, cfg: Config) -> Optional[Path]:
    """Return the config of the first stage, which has the name of the folder in ``load_from``, if it is beside this."""
    stage_one = path.with_name(f'{Path(cfg.get("load_from") or "").parent.name}.py')
    return stage_one if stage_one.is_file() else None


def check_config(path: Path, args: argparse.Namespace) -> None:
    """Raise ``ValueError`` or ``OSError`` unless the config, and that of its first stage, can be trained and tested."""
    with errors_naming(f'{path} must be a config to train and test'):
        cfg = load_config(path, args.seeds[0], args)
        stage_one = stage_one_of(path, cfg)
        if not cfg.train_cfg and stage_one is None:
            raise ValueError('it has no train_cfg, and beside it is no config of a first stage for '
                             f'load_from={cfg.get("load_from")!r}')
        checkpoint_name(cfg)
    if stage_one is not None:
        check_config(stage_one, args)


def signature(cfg: Config) -> str:
    """Return the hash of the parts in ``TRAINING``, without what acts in tests alone."""
    cfg = Config(cfg.to_dict())
    cfg.model.pop('test_cfg', None)
    head = cfg.model.get('head', {})
    for classifier in (head, head.get('classifier', {}), cfg.model.get('roi_head', {}).get('classifier', {})):
        for setting in ('alpha', 'exempt_background'):
            classifier.pop(setting, None)
    return hash_config({key: cfg.get(key) for key in TRAINING})[:10]


def training_name(path: Path) -> str:
    """Return the name of a config's training, shared by a classifier and its TDE."""
    return f'{path.parent.name}_{path.stem.replace("-tde", "").replace("_tde_", "_deconfound_")}'


def run(script: str, config: Path, arguments: List[Any], work_dir: Path, args: argparse.Namespace) -> None:
    """Run a tool on a config and log its output in ``work_dir``."""
    work_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, TOOLS / f'{script}.py', config, *arguments, '--work-dir', work_dir]
    if args.launcher == 'slurm':
        command = ['srun', '-p', args.partition, f'--job-name={work_dir.name}', '--gres=gpu:1', *command]
    with open(work_dir / f'{script}.log', 'a', encoding='utf-8') as log:
        code = subprocess.run([str(word) for word in command], stdout=log, stderr=subprocess.STDOUT).returncode
    if code:
        sys.exit(f'{script} of {config} failed, see {work_dir / script}.log')


def train(path: Path, seed: int, args: argparse.Namespace) -> Path:
    """Train and return the checkpoint to test: of the config's own training, or of its first stage if it has none."""
    cfg = load_config(path, seed, args)
    stage_one = stage_one_of(path, cfg)
    if stage_one is not None:
        cfg.load_from = str(train(stage_one, seed, args))
    if not cfg.train_cfg:
        return Path(cfg.load_from)
    work_dir = args.work_dir / f'{training_name(path)}_{seed}_{signature(cfg)}'
    checkpoint = work_dir / checkpoint_name(cfg)
    if not checkpoint.exists():
        write_text(work_dir / 'config.py', cfg.pretty_text)
        note_start(work_dir)
        start = time.time()
        print(f'{path.stem}, seed {seed}: training in {work_dir}', flush=True)
        run('train', work_dir / 'config.py', ['--resume'] if any(work_dir.glob('*.pth')) else [], work_dir, args)
        print(f'{path.stem}, seed {seed}: trained in {time.time() - start:.0f} s', flush=True)
    return checkpoint


def checkpoint_name(cfg: Config) -> str:
    """Return the name of the checkpoint that a training leaves in the end.

    Raises:
        ValueError: Checkpoints in another folder, or by iterations.
    """
    hook = cfg.get('default_hooks', {}).get('checkpoint') or {}
    if hook.get('out_dir') or not hook.get('by_epoch', True):
        raise ValueError('its CheckpointHook must save epochs in the folder of the training, but has '
                         f'out_dir={hook.get("out_dir")!r}, by_epoch={hook.get("by_epoch", True)}')
    template = hook.get('filename_tmpl') or 'epoch_{}.pth'
    return template.format((cfg.train_cfg or {}).get('max_epochs', 1))


def note_start(work_dir: Path) -> None:
    """Record commit and machine of each start, because a training may be resumed on another machine."""
    file = work_dir / 'starts.json'
    starts = json.loads(file.read_text(encoding='utf-8')) if file.exists() else []
    write_text(file, json.dumps([*starts, dict(commit=commit(), machine=machine())], indent=1))


def test(path: Path, seed: int, args: argparse.Namespace) -> Dict[str, Any]:
    """Return the accuracies or average precisions in percent, with their provenance."""
    checkpoint = train(path, seed, args)
    cfg = load_config(path, seed, args)
    tested = hash_config([cfg.get(key) for key in TESTING])[:10]
    out = checkpoint.parent / f'test_{path.stem}_{tested}.json'
    if not out.exists():
        cfg.load_from = None
        config = out.with_suffix('.py')
        write_text(config, cfg.pretty_text)
        run('test', config, [checkpoint], out.with_suffix(''), args)
        write_text(out, logged_metrics(out.with_suffix('')))
    metrics = json.loads(out.read_text(encoding='utf-8'))
    starts = checkpoint.parent / 'starts.json'
    accuracies = {name: metrics[key] for name, key in SHOTS.items() if key in metrics}
    precisions = {name: 100 * metrics[key] for name, keys in PRECISIONS.items() for key in keys
                  if metrics.get(key, -1) >= 0}
    if not accuracies and not precisions:
        sys.exit(f'the test of {path} must report one of {", ".join(SHOTS.values())} (mmcausal.ShotAccuracy without a '
                 f'prefix) or of {", ".join(keys[0] for keys in PRECISIONS.values())}, but has {", ".join(metrics)}')
    return dict(accuracies, **precisions, seed=seed, run=checkpoint.parent.name,
                trained=json.loads(starts.read_text(encoding='utf-8')) if starts.exists() else None)


def logged_metrics(work_dir: Path) -> str:
    """Return the metrics of the last test in a folder, in JSON, as the ``LoggerHook`` of both hosts writes them."""
    logs = sorted(work_dir.glob('*/*.json'), key=lambda log: log.stat().st_mtime_ns)
    if not logs:
        sys.exit(f'the test in {work_dir} wrote no metrics: default_hooks must have a LoggerHook')
    return logs[-1].read_text(encoding='utf-8')


def setting(path: Path, args: argparse.Namespace) -> str:
    """Return a hash of what decides the accuracy of a config in this table, apart from the images per step."""
    cfg = load_config(path, 0, args)
    parts = {key: cfg.get(key) for key in {*TRAINING, *TESTING} - {'load_from', 'randomness'}}
    parts['default_hooks'] = {name: hook for name, hook in cfg.get('default_hooks', {}).items() if name != 'checkpoint'}
    if cfg.train_cfg:
        parts['optim_wrapper'] = without_precision(cfg.optim_wrapper)
    if cfg.train_cfg and cfg.model.get('backbone', {}).get('norm_eval'):  # no statistics of the batch of a process
        parts['train_dataloader'] = {**parts['train_dataloader'], 'batch_size': None}
    stage_one = stage_one_of(path, cfg)
    if cfg.get('load_from'):
        parts['first stage'] = cfg.load_from if stage_one is None else setting(stage_one, args)
    return hash_config(parts, ignore=NEUTRAL)[:10]


def without_precision(optim_wrapper: Dict[str, Any]) -> Dict[str, Any]:
    """Return an optimiser wrapper without what decides the precision of its steps alone."""
    if optim_wrapper.get('type', 'OptimWrapper') not in SAME_STEPS:
        return optim_wrapper
    return {key: value for key, value in optim_wrapper.items() if key not in ('type', 'dtype', 'loss_scale')}


def keeps_images_per_step(path: Path, args: argparse.Namespace) -> bool:
    """Return whether this table trains a config, and its first stage, with the images per step that they are for."""
    cfg = load_config(path, 0, args)
    stage_one = stage_one_of(path, cfg)
    if stage_one is not None and not keeps_images_per_step(stage_one, args):
        return False
    if not cfg.train_cfg or 'max_epochs' not in cfg.train_cfg:
        return True
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    batch = cfg.train_dataloader.batch_size * steps  # of one GPU
    schedule = cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
    counts_batches = any(not part.get('by_epoch', True) for part in schedule)
    if steps > 1 and counts_batches:  # a schedule in iterations would end after fewer optimiser steps
        return False
    return bool(batch == cfg.auto_scale_lr.base_batch_size)


def published(path: Path, args: argparse.Namespace) -> Optional[Union[float, str]]:
    """Return the published accuracy of a config, or ``None`` if there is none or the run has another setting."""
    row = PUBLISHED.get(f'{path.parent.name}/{path.stem}')
    same = row is not None and row['setting'] == setting(path, args) and keeps_images_per_step(path, args)
    return row['accuracy'] if same else None


def markdown(rows: List[Dict[str, Any]]) -> str:
    """Return the table in Markdown: means and standard deviations over seeds, beside the published accuracies."""
    measured = {name for row in rows for result in row['results'] for name in result}
    metrics = [name for name in (*SHOTS, *PRECISIONS) if name in measured]
    lines = ['| config | ' + ' | '.join(metrics) + ' | published |', '|---' * (len(metrics) + 2) + '|']
    for row in rows:
        cells = []
        for metric in metrics:
            values = [result[metric] for result in row['results'] if metric in result]
            spread = f' ± {np.std(values, ddof=1):.1f}' if len(values) > 1 else ''
            cells.append(f'{np.mean(values):.1f}{spread}' if values else '')
        lines.append(f'| {markdown_code(row["config"])} | ' + ' | '.join(cells) + f' | {row["published"] or ""} |')
    return '\n'.join(lines)


def main() -> None:
    use_utf8()
    args = parse_args()
    rows: List[Dict[str, Any]] = []
    failures: List[str] = []
    for path in args.configs:  # all of them before the first training
        check_config(path, args)
        rows.append(dict(config=f'{path.parent.name}/{path.stem}', results=[], published=published(path, args)))
    for path, row in zip(args.configs, rows):
        for seed in args.seeds:
            try:
                row['results'].append(test(path, seed, args))
            except (SystemExit, OSError, ValueError) as failure:  # other rows need not wait for this one
                failures.append(str(failure))
                print(failure, flush=True)
        print(markdown([row]).splitlines()[-1], flush=True)
    table = markdown(rows)
    print(f'\nResults in percent, {len(args.seeds)} seeds\n\n{table}')
    if args.out:
        epochs = args.epochs or 'those of the configs'
        content = dict(provenance(), seeds=args.seeds, epochs=epochs, options=args.cfg_options, rows=rows,
                       failures=failures)
        write_text(args.out, json.dumps(content, indent=1, default=str))
        write_text(args.out.with_suffix('.md'), table + '\n')
    if failures:
        sys.exit('\n'.join(failures))


if __name__ == '__main__':
    with plain_errors():
        main()
