"""Every method of the tables trains and tests on real images: two iterations each, second stages from the first."""
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import ROOT
from helpers.data import CIFAR100_MD5
from mmengine.config import Config
from mmengine.runner import Runner

CONFIGS = ROOT / 'configs' / 'cifar100_lt'

METHODS = sorted(path.stem for path in CONFIGS.glob('*_r32_ir100.py') if not path.stem.startswith('linear'))


def small(name, root, work_dir):
    """Return a config with two images of each class and 200 test images."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    counts = [int(500 * 0.01**(label / 99)) for label in range(100)]
    firsts = np.cumsum([0, *counts[:-1]])
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        if loader:
            indices = [int(i) for first in firsts for i in (first, first + 1)] if split == 'train' else 200
            loader.dataset.update(data_root=str(root), md5=CIFAR100_MD5, indices=indices)
            loader.update(batch_size=100, num_workers=0, persistent_workers=False)
    if cfg.train_cfg and 'max_epochs' in cfg.train_cfg:
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.log_level = 'WARNING'
    cfg.randomness = dict(seed=0)
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir)
    return cfg


@pytest.fixture(scope='module')
def stage_one(cifar100_root, tmp_path_factory):
    """Return a function that trains a first stage, once, and returns its checkpoint."""

    @functools.lru_cache(maxsize=None)
    def train(name):
        work_dir = tmp_path_factory.mktemp(name)
        Runner.from_cfg(small(name, cifar100_root, work_dir)).train()
        return str(work_dir / 'epoch_1.pth')
    return train


@pytest.mark.parametrize('name', METHODS)
def test_trains_and_tests(cifar100_root, stage_one, tmp_path, name):
    cfg = small(name, cifar100_root, tmp_path)
    if cfg.load_from:
        cfg.load_from = stage_one(Path(cfg.load_from).parent.name)
    runner = Runner.from_cfg(cfg)
    if cfg.train_cfg:
        before = {key: value.clone() for key, value in runner.model.state_dict().items()}
        runner.train()
        after = runner.model.state_dict()
        assert all(value.isfinite().all() for value in after.values())
        assert any(not torch.equal(value, after[key]) for key, value in before.items())
    metrics = runner.test()
    assert 0 <= metrics['accuracy/top1'] <= 100 and 'shot/overall' in metrics
