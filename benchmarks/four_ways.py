"""Two detectors, trained and then tested in several ways, for the detection benchmarks."""
import json
import time
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner

from mmcausal.files import write_text

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
CLASSIFIER = 'model.roi_head.classifier'
TRAINING_TIME = 'training_time.json'
# Row of the table: detector, changes at test time
ROWS = {
    'baseline': ('baseline', {}),
    'de-confound': ('tde', {f'{CLASSIFIER}.alpha': 0.}),
    'de-confound-TDE': ('tde', {}),
    'TDE, background not exempted': ('tde', {f'{CLASSIFIER}.exempt_background': False}),
    "de-confound-TDE, alpha='auto'": ('tde', {f'{CLASSIFIER}.alpha': 'auto'}),
}
Metrics = Dict[str, float]
# Returns the config of 'baseline' or 'tde'
MakeConfig = Callable[[str], Config]


def build_runner(cfg: Config, work_dir: Path, changes: dict) -> Runner:
    cfg.merge_from_dict(changes)
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'{work_dir.name}_{time.time_ns()}'
    cfg.visualizer.name = cfg.experiment_name  # a visualiser with a known name would log into the old folder
    return Runner.from_cfg(cfg)


def train_once(make_config: MakeConfig, kind: str, seed: int, work_dir: Path) -> Path:
    """Train in ``work_dir``, unless it has been done before, and return the last checkpoint.

    Also writes the duration of the training, or of its last part if it was resumed.
    """
    cfg = make_config(kind)
    last = work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    if not last.exists():
        changes = {'randomness.seed': seed, 'default_hooks.checkpoint.max_keep_ckpts': 1, 'resume': True}
        start, resumed = time.time(), (work_dir / 'last_checkpoint').exists()
        build_runner(cfg, work_dir, changes).train()
        times = dict(minutes=round((time.time() - start) / 60, 1), resumed=resumed)
        write_text(work_dir / TRAINING_TIME, json.dumps(times))
    return last


def test_four_ways(make_config: MakeConfig, seed: int, work_dir: Path) -> Dict[str, Metrics]:
    """Train both detectors with a seed and test them; return metrics in percent, by row and name."""
    results = {}
    for row, (kind, changes) in ROWS.items():
        checkpoint = train_once(make_config, kind, seed, work_dir / f'{kind}_{seed}')
        runner = build_runner(make_config(kind), work_dir / f'test_{seed}', {**changes, 'load_from': str(checkpoint)})
        results[row] = {key.split('/')[-1]: percent(value) for key, value in runner.test().items()}
    return results


def percent(figure: float) -> float:
    return 100 * figure if figure >= 0 else figure  # -1 stays: there is no ground truth


def print_table(seeds: Sequence[Dict[str, Metrics]], figures: Tuple[str, ...]) -> None:
    """Print mean and standard deviation over seeds, for boxes and masks."""
    for kind in ('bbox', 'segm'):
        print(f'\n{kind}, mean ± standard deviation over {len(seeds)} seeds')
        print(f'{"":<30}' + ''.join(f'{figure:>14}' for figure in figures))
        for row in ROWS:
            values = np.array([[result[row][f'{kind}_{figure}'] for figure in figures] for result in seeds])
            spread = values.std(0, ddof=1) if len(values) > 1 else np.zeros(len(figures))
            print(f'{row:<30}' + ''.join(f'{mean:>8.1f} ± {std:<3.1f}' for mean, std in zip(values.mean(0), spread)))


def trainings(work_dir: Path, seed: int) -> Dict[str, dict]:
    """Return the duration in minutes, whether it was resumed, and the losses of the training of each detector.

    Minutes are ``None`` for a training that was interrupted after its last checkpoint.
    """
    logs = {}
    for kind in ('baseline', 'tde'):
        folder = work_dir / f'{kind}_{seed}'
        time_file = folder / TRAINING_TIME
        times = dict(minutes=None, resumed=None)
        if time_file.exists():
            times = json.loads(time_file.read_text(encoding='utf-8'))
        logs[kind] = dict(times, losses=losses(folder))
    return logs


def losses(work_dir: Path) -> List[Metrics]:
    """Return epochs and losses from the training logs in ``work_dir``, also of an interrupted and resumed run."""
    by_epoch = {}
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in map(json.loads, log.read_text(encoding='utf-8').splitlines()):
            if 'loss' in line:
                by_epoch[line['epoch']] = dict(epoch=line['epoch'], loss=line['loss'])
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]
