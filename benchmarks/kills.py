"""Kill processes at once (signal 9) while they store features, proposals, directions and checkpoints.

Half of the kills come at a random moment, the other half at a moment when a file is being written. After each kill,
checks that everything which had been finished is kept and whole, starts the same work again without a kill, and
compares its result, bit by bit, with that of a run that was never disturbed. Small models and files, so that most of
the time goes into writing. The trainings draw from generators that are seeded at the start of each epoch.
"""
import argparse
import hashlib
import json
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed

from mmcausal.analysis import FeatureStore, ProposalStore, provenance
from mmcausal.commands import add_overwrite_argument, check_outputs
from mmcausal.datasets.shapes import make_shapes_dataset
from mmcausal.files import write_text
from mmcausal.hooks.checkpoint_hook import repair_last_checkpoint

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
DIGITS = CONFIGS / 'digits_lt'
ESTIMATE = ROOT / 'tools' / 'analysis' / 'estimate_direction.py'
IDENTITY = dict(checkpoint='none')
NUM_IMAGES, CHANNELS, BATCH, NUM_PROPOSALS, EPOCHS = 2000, 512, 10, 60, 3
DONE = multiprocessing.Value('i', 0, lock=False)  # what a process has finished, which a kill must not take away


class Subject(NamedTuple):
    """Something to kill.

    ``work`` does everything in a folder that is not done yet, and counts it in ``DONE``; ``kept`` checks the folder and
    returns how much it has; ``result`` returns the file to compare.
    """
    work: Callable[[Path], None]
    kept: Callable[[Path], int]
    result: Callable[[Path], Path]


def features_of(start: int, number: int) -> torch.Tensor:
    return torch.arange(start, start + number)[:, None] + torch.rand(CHANNELS, generator=torch.manual_seed(0))


def open_features(folder: Path) -> FeatureStore:
    return FeatureStore(folder / 'store', IDENTITY, NUM_IMAGES, CHANNELS)


def store_features(folder: Path) -> None:
    store = open_features(folder)
    for start in range(store.num_done, NUM_IMAGES, BATCH):
        store.append(features_of(start, BATCH), torch.arange(start, start + BATCH))
        DONE.value = store.num_done


def kept_features(folder: Path) -> int:
    store = open_features(folder)
    number = store.num_done
    assert np.array_equal(store.features[:number], features_of(0, number).numpy())
    assert np.array_equal(store.labels[:number], np.arange(number))
    return number


def proposals_of(index: int) -> dict:
    values = torch.rand(300, 1024, generator=torch.manual_seed(index))
    return dict(features=[values], rois=values[:, :5], bbox_pred=values[:, :4], img_meta=dict(img_id=index))


def store_proposals(folder: Path) -> None:
    store = ProposalStore(folder / 'store', IDENTITY, 'float32')
    for index in range(len(store), NUM_PROPOSALS):
        store.append(proposals_of(index))
        DONE.value = len(store)


def kept_proposals(folder: Path) -> int:
    store = ProposalStore(folder / 'store', IDENTITY, 'float32')
    for index, found in enumerate(store):
        expected = proposals_of(index)
        assert torch.equal(found['features'][0], expected['features'][0]) and torch.equal(found['rois'],
                                                                                          expected['rois'])
    return len(store)


def last_proposals(folder: Path) -> Path:
    return sorted((folder / 'store').glob('0*'))[-1]


def estimate_direction(folder: Path) -> None:
    if not (folder / 'out.pth').exists():
        sys.path.insert(0, str(ESTIMATE.parent))
        sys.argv = [str(ESTIMATE), str(DIGITS / 'linear_small_ir100.py'), str(last_epoch(folder.parents[1] / 'linear')),
                    str(folder / 'out.pth'), '--cfg-options', 'randomness.seed=0']
        runpy.run_path(str(ESTIMATE), run_name='__main__')
    DONE.value = 1


def kept_direction(folder: Path) -> int:
    whole = [torch.load(path, weights_only=False) for path in folder.glob('*.pth')]
    return len(whole)


class SeedAndCount(Hook):
    """Seed all generators before each epoch, and count the epochs that are saved."""
    priority = 'LOWEST'

    def before_train_epoch(self, runner: Runner) -> None:
        set_random_seed(runner.epoch)

    def after_train_epoch(self, runner: Runner) -> None:
        DONE.value = runner.epoch + 1


def train(cfg: Config, folder: Path) -> None:
    cfg.work_dir, cfg.experiment_name = str(folder), f'{folder.name}_{time.time_ns()}'
    cfg.resume, cfg.randomness = True, dict(seed=0)
    cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval = EPOCHS, 100
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(SeedAndCount())
    runner.train()


def train_linear(folder: Path) -> None:
    train(Config.fromfile(DIGITS / 'linear_small_ir100.py'), folder)


def train_classifier(folder: Path) -> None:
    train(Config.fromfile(DIGITS / 'deconfound_small_ir100.py'), folder)


def train_detector(folder: Path) -> None:
    cfg = Config.fromfile(CONFIGS / 'shapes_lvis' / 'cascade_tde_r18.py')
    cfg.merge_from_dict({'model.backbone.base_channels': 8, 'model.neck.in_channels': [8, 16, 32, 64]})
    data = str(folder.parents[1] / 'shapes')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = data
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = f'{data}/annotations/shapes_val.json'
    cfg.train_dataloader.dataset.indices = 4
    train(cfg, folder)


def kept_epochs(folder: Path) -> int:
    """Return the epoch that a resumed training starts from; each checkpoint must be whole."""
    for path in folder.glob('*.pth'):
        torch.load(path, weights_only=False)
    repair_last_checkpoint(folder, 'epoch_{}.pth')
    last = folder / 'last_checkpoint'
    if not last.exists():
        return 0
    return torch.load(last.read_text(encoding='utf-8'), weights_only=False)['meta']['epoch']


def last_epoch(folder: Path) -> Path:
    return folder / f'epoch_{EPOCHS}.pth'


SUBJECTS = {
    'features': Subject(store_features, kept_features, lambda folder: folder / 'store' / 'features.npy'),
    'proposals': Subject(store_proposals, kept_proposals, last_proposals),
    'direction': Subject(estimate_direction, kept_direction, lambda folder: folder / 'out.pth'),
    'checkpoints of a classifier': Subject(train_classifier, kept_epochs, last_epoch),
    'checkpoints of a detector': Subject(train_detector, kept_epochs, last_epoch),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=20, help='number of kills of each subject')
    parser.add_argument('--subjects', choices=list(SUBJECTS), nargs='+', default=list(SUBJECTS))
    parser.add_argument('--seed', type=int, default=0, help='seed that draws the moments')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/kills'), help='a new folder')
    parser.add_argument('--out', type=Path, required=True, help='JSON file for the results')
    add_overwrite_argument(parser)
    args = parser.parse_args()
    check_outputs(parser, args, args.out)
    if args.work_dir.exists():
        parser.error(f'{args.work_dir} exists; choose a new folder')
    return args


def start(work: Callable[[Path], None], folder: Path) -> int:
    """Do some work in a process of its own, a copy of this one, and return its id."""
    DONE.value = 0
    pid = os.fork()
    if pid:
        return pid
    log = os.open(folder / 'log', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    status = 1
    try:
        work(folder)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def finish(work: Callable[[Path], None], folder: Path) -> None:
    """Do some work to its end."""
    status = os.waitpid(start(work, folder), 0)[1]
    if status:
        sys.exit(f'stopped with status {status}, see {folder / "log"}')


def half_files(folder: Path) -> List[Path]:
    return list(folder.rglob('.*.partial'))


def kill(pid: int, folder: Path, after: float, while_writing: bool) -> bool:
    """Kill a process after some seconds, or at its next write after that; return whether it was still running."""
    time.sleep(after)
    ended = 0
    while while_writing and not ended and not half_files(folder):
        time.sleep(1e-4)
        ended = os.waitpid(pid, os.WNOHANG)[0]
    if ended:
        return False
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def content_of(file: Path) -> str:
    """Return the hash of an array file, or of the tensors of a checkpoint, which holds times too."""
    digest = hashlib.sha256()
    if file.suffix != '.pth':
        return hashlib.sha256(file.read_bytes()).hexdigest()
    for name, value in sorted(torch.load(file, weights_only=False)['state_dict'].items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def trials(subject: Subject, number: int, folder: Path, draw: random.Random) -> Iterator[Dict[str, Optional[int]]]:
    """Yield what each kill found: units finished, kept and lost, and files that were half written."""
    whole = folder / 'undisturbed'
    whole.mkdir(parents=True)
    begin = time.time()
    finish(subject.work, whole)
    seconds, expected = time.time() - begin, content_of(subject.result(whole))
    trial = 0
    while trial < number:
        run = folder / 'killed'
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        if not kill(start(subject.work, run), run, draw.uniform(0, seconds), while_writing=trial % 2 == 1):
            continue  # it had ended before
        finished, half = DONE.value, len(half_files(run))
        kept = subject.kept(run)
        finish(subject.work, run)
        yield dict(finished=finished, kept=kept, lost=max(finished - kept, 0), half_written=half,
                   result_differs=int(content_of(subject.result(run)) != expected))
        trial += 1


def main() -> None:
    args, source = parse_args(), provenance()  # files may change in the meantime
    torch.set_num_threads(1)  # a forked process may not share a pool of threads
    args.work_dir.mkdir(parents=True)
    folder = args.work_dir.resolve()
    make_shapes_dataset(folder / 'shapes', num_train=24, num_val=24, imbalance_ratio=2, image_size=160)
    (folder / 'linear').mkdir()
    finish(train_linear, folder / 'linear')
    rows = []
    for name in args.subjects:
        found = list(trials(SUBJECTS[name], args.kills, folder / name, random.Random(args.seed)))
        rows.append(dict(subject=name, kills=len(found), trials=found,
                         **{key: sum(trial[key] for trial in found) for key in ('lost', 'result_differs')},
                         while_writing=sum(trial['half_written'] > 0 for trial in found)))
        print({key: value for key, value in rows[-1].items() if key != 'trials'}, flush=True)
        write_text(args.out, json.dumps(dict(source, rows=rows), indent=1))


if __name__ == '__main__':
    main()
