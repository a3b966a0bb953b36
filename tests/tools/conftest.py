"""Checkpoints and images that the tests of several tools share, made once for all processes of pytest-xdist."""
import fcntl
import gzip
import os
from pathlib import Path

import pytest
from helpers.commands import BASELINE, DIGITS, free_port, run
from helpers.data import write_image


def make_once(tmp_path_factory, name, make):
    """Return a folder that ``make(folder)`` fills; the first process makes it, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base
    folder, done = base / name, base / f'{name}.done'
    with open(base / f'{name}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope='session')
def linear_checkpoint(tmp_path_factory):
    def train(folder):
        run('mim', 'train', 'mmpretrain', BASELINE, '--work-dir', folder, '--cfg-options', 'train_cfg.max_epochs=2')

    return make_once(tmp_path_factory, 'linear', train) / 'epoch_2.pth'


@pytest.fixture(scope='session')
def two_rank_checkpoint(tmp_path_factory):
    def train(folder):
        output = run('bash', 'tools/dist_train.sh', DIGITS, '2', '--work-dir', folder, '--cfg-options',
                     'train_cfg.max_epochs=2', PORT=free_port())
        assert 'Mean cosine of features and head direction' in output

    return make_once(tmp_path_factory, 'ranks', train) / 'epoch_2.pth'


@pytest.fixture(scope='session')
def imagenet_lt(tmp_path_factory):
    """Some lines of ImageNet-LT's own lists, and an image of noise for each."""
    if 'MMCAUSAL_DATA' not in os.environ:
        pytest.skip('real lists: MMCAUSAL_DATA does not name a folder with imagenet_lt/ImageNet_LT_val.txt.gz')
    source = Path(os.environ['MMCAUSAL_DATA']) / 'imagenet_lt'

    def write(root):
        for split, name, step, first_seed in (('train', 'train_90', 40, 0), ('val', 'val', 400, 1000),
                                              ('test', 'test', 1000, 2000)):
            text = gzip.decompress((source / f'ImageNet_LT_{name}.txt.gz').read_bytes()).decode()
            lines = text.splitlines()[::step]
            (root / f'ImageNet_LT_{split}.txt').write_text('\n'.join(lines) + '\n')
            for seed, line in enumerate(lines, first_seed):  # no image is in two splits
                write_image(root / line.split()[0], seed)

    return make_once(tmp_path_factory, 'imagenet', write)
