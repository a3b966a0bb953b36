"""Fixtures that tests of several folders share."""
import functools
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace

import mmengine.config.utils
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

# No doctests here. Files of one name, as conftest.py, could not be imported side by side for doctests.
collect_ignore = ['helpers', 'saved']
collect_ignore_glob = ['*conftest.py']


@pytest.fixture(scope='session', autouse=True)
def metafiles_of_hosts():
    """Read each metafile of MMPretrain once: MMEngine reads all of them for each config with a base of MMPretrain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load', functools.lru_cache(maxsize=None)(mmengine.config.utils.load))
        yield


@pytest.fixture(autouse=True)
def reset_globals():
    """Seed PyTorch before each test, and clear the global state that a Runner of MMEngine leaves."""
    torch.manual_seed(0)
    yield
    DefaultScope._instance_dict.clear()
    MMLogger._instance_dict.clear()


def unpack_cifar(name, tmp_path_factory):
    if 'MMCAUSAL_DATA' not in os.environ:
        pytest.skip(f'real CIFAR: MMCAUSAL_DATA does not name a folder with {name}-lt.tar.xz')
    root = tmp_path_factory.mktemp(name)
    with tarfile.open(Path(os.environ['MMCAUSAL_DATA']) / f'{name}-lt.tar.xz') as archive:
        archive.extractall(root)
    return root


@pytest.fixture(scope='session')
def cifar100_root(tmp_path_factory):
    """The folder with cifar-100-python/ of the packed CIFAR-100."""
    return unpack_cifar('cifar100', tmp_path_factory)


@pytest.fixture(scope='session')
def cifar10_root(tmp_path_factory):
    """The folder with cifar-10-batches-py/ of the packed CIFAR-10."""
    return unpack_cifar('cifar10', tmp_path_factory)


@pytest.fixture(scope='session')
def stage_one(tmp_path_factory):
    """A linear classifier of digits after five epochs (a second): its checkpoint and its model."""
    from helpers.runners import baseline_cfg
    work_dir = tmp_path_factory.mktemp('stage_one')
    runner = Runner.from_cfg(baseline_cfg(work_dir, epochs=5))
    runner.train()
    return SimpleNamespace(checkpoint=str(work_dir / 'epoch_5.pth'), model=runner.model)


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """The folder of a small dataset in LVIS format."""
    from mmcausal.datasets.shapes import make_shapes_dataset
    root = tmp_path_factory.mktemp('shapes')
    make_shapes_dataset(root, num_train=24, num_val=24, imbalance_ratio=10, image_size=160)
    return root
