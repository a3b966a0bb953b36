import os
import tarfile
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

CIFAR100_MD5 = dict(train='f8e2a46b1eb207ecdef86497d462cacd')


@pytest.fixture(autouse=True)
def reset_globals():
    """What one Runner leaves in MMEngine's global state is not there for the next test."""
    torch.manual_seed(0)
    yield
    DefaultScope._instance_dict.clear()
    MMLogger._instance_dict.clear()


@pytest.fixture(scope='session')
def cifar100_root(tmp_path_factory):
    """The folder with cifar-100-python/ of the packed CIFAR-100."""
    if 'MMCAUSAL_DATA' not in os.environ:
        pytest.skip('real CIFAR: MMCAUSAL_DATA does not name a folder with cifar100-lt.tar.xz')
    root = tmp_path_factory.mktemp('cifar100')
    with tarfile.open(Path(os.environ['MMCAUSAL_DATA']) / 'cifar100-lt.tar.xz') as archive:
        archive.extractall(root)
    return root
