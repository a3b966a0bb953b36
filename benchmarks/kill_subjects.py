"""Work to kill, for ``kills.py``: small models and files, so that most of the time goes into writing."""
import multiprocessing
import runpy
import sys
import time
from pathlib import Path
from typing import Callable, List, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed

from mmcausal.analysis import FeatureStore, ProposalStore
from mmcausal.analysis.proposal_store import Proposals
from mmcausal.hooks.checkpoint_hook import repair_last_checkpoint

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
DIGITS = CONFIGS / 'digits_lt'
ESTIMATE = ROOT / 'tools' / 'analysis' / 'estimate_direction.py'
IDENTITY = dict(checkpoint='none')
NUM_IMAGES, CHANNELS, BATCH, NUM_PROPOSALS = 2000, 512, 10, 60
# Enough that most of the time goes into epochs, not into building the data
CLASSIFIER_EPOCHS, DETECTOR_EPOCHS = 16, 4
DONE = multiprocessing.Value('i', 0, lock=False)  # what a process has finished, which a kill must not take away


class Subject(NamedTuple):
    """Something to kill.

    ``work`` does everything in a folder that is not done yet, and counts it in ``DONE``; ``kept`` checks the folder and
    returns how much it has; ``result`` returns the tensors to compare in the end.
    """
    work: Callable[[Path], None]
    kept: Callable[[Path], int]
    result: Callable[[Path], List[torch.Tensor]]


def features_of(start: int, number: int) -> torch.Tensor:
    return torch.arange(start, start + number)[:, None] + torch.rand(CHANNELS, generator=torch.manual_seed(0))


def open_features(folder: Path) -> FeatureStore:
    return FeatureStore(folder / 'store', IDENTITY, NUM_IMAGES, CHANNELS)


def store_features(folder: Path) -> None:
    store = open_features(folder)
    for start in range(store.num_done, NUM_IMAGES, BATCH):
        store.append(features_of(start, BATCH), torch.arange(start, start + BATCH))
        DONE.value = store.num_done


def all_features(folder: Path) -> List[torch.Tensor]:
    store = open_features(folder)
    return [torch.from_numpy(array.copy()) for array in (store.features, store.labels)]


def kept_features(folder: Path) -> int:
    store = open_features(folder)
    number = store.num_done
    assert np.array_equal(store.features[:number], features_of(0, number).numpy())
    assert np.array_equal(store.labels[:number], np.arange(number))
    return number


def proposals_of(index: int) -> Proposals:
    values = torch.rand(300, 1024, generator=torch.manual_seed(index))
    return Proposals(features=[values], rois=values[:, :5], bbox_pred=values[:, :4], img_meta=dict(img_id=index))


def open_proposals(folder: Path) -> ProposalStore:
    return ProposalStore(folder / 'store', IDENTITY, 'float32')


def store_proposals(folder: Path) -> None:
    store = open_proposals(folder)
    for index in range(len(store), NUM_PROPOSALS):
        store.append(proposals_of(index))
        DONE.value = len(store)


def all_proposals(folder: Path) -> List[torch.Tensor]:
    return [proposals['features'][0] for proposals in open_proposals(folder)]


def kept_proposals(folder: Path) -> int:
    found = all_proposals(folder)
    assert all(torch.equal(values, proposals_of(index)['features'][0]) for index, values in enumerate(found))
    return len(found)


def estimate_direction(folder: Path) -> None:
    if not (folder / 'out.pth').exists():
        sys.path.insert(0, str(ESTIMATE.parent))
        sys.argv = [str(ESTIMATE), str(DIGITS / 'linear_small_ir100.py'), str(last_epoch(folder.parents[1] / 'linear')),
                    str(folder / 'out.pth'), '--cfg-options', 'randomness.seed=0']
        runpy.run_path(str(ESTIMATE), run_name='__main__')
    DONE.value = 1


def weights_in(checkpoint: Path) -> List[torch.Tensor]:
    return list(torch.load(checkpoint, weights_only=False)['state_dict'].values())


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


def train(cfg: Config, folder: Path, epochs: int) -> None:
    cfg.work_dir, cfg.experiment_name = str(folder), f'{folder.name}_{time.time_ns()}'
    cfg.resume, cfg.randomness = True, dict(seed=0)
    cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval = epochs, 100
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(SeedAndCount())
    runner.train()


def train_linear(folder: Path) -> None:
    train(Config.fromfile(DIGITS / 'linear_small_ir100.py'), folder, CLASSIFIER_EPOCHS)


def train_classifier(folder: Path) -> None:
    train(Config.fromfile(DIGITS / 'deconfound_small_ir100.py'), folder, CLASSIFIER_EPOCHS)


def train_detector(folder: Path) -> None:
    cfg = Config.fromfile(CONFIGS / 'shapes_lvis' / 'cascade_tde_r18.py')
    cfg.merge_from_dict({'model.backbone.base_channels': 8, 'model.neck.in_channels': [8, 16, 32, 64]})
    data = str(folder.parents[1] / 'shapes')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = data
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = f'{data}/annotations/shapes_val.json'
    cfg.train_dataloader.dataset.indices = 4
    train(cfg, folder, DETECTOR_EPOCHS)


def kept_epochs(folder: Path) -> int:
    """Return the epoch that a resumed training starts from; each checkpoint must be whole."""
    for path in folder.glob('*.pth'):
        torch.load(path, weights_only=False)
    repair_last_checkpoint(folder, 'epoch_{}.pth')
    if not (folder / 'last_checkpoint').exists():
        return 0
    return torch.load(last_epoch(folder), weights_only=False)['meta']['epoch']


def last_epoch(folder: Path) -> Path:
    return Path((folder / 'last_checkpoint').read_text(encoding='utf-8'))


def last_weights(folder: Path) -> List[torch.Tensor]:
    return weights_in(last_epoch(folder))


SUBJECTS = {
    'features': Subject(store_features, kept_features, all_features),
    'proposals': Subject(store_proposals, kept_proposals, all_proposals),
    'direction': Subject(estimate_direction, kept_direction, lambda folder: weights_in(folder / 'out.pth')),
    'checkpoints of a classifier': Subject(train_classifier, kept_epochs, last_weights),
    'checkpoints of a detector': Subject(train_detector, kept_epochs, last_weights),
}
