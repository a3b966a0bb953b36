"""Training and testing in one process and in two, as users run them."""
import importlib
import json
import os
import sys

import numpy as np
import pytest
import torch
from helpers.commands import DIGITS, IMAGENET_LT, ROOT, free_port, metrics, run
from helpers.data import imagenet_lt_options
from helpers.in_process import run_tool

# Without random crops and batch statistics, which depend on the split of a batch. The classifier is tested on its
# training images, where so short a training shows an effect.
SAME_IN_ANY_SPLIT = f"""
_base_ = '{ROOT / IMAGENET_LT}'
custom_imports = dict(imports=['helpers.mean_loss_hook'])
custom_hooks = [*_base_.custom_hooks, dict(type='MeanLossHook')]
model = dict(backbone=dict(norm_eval=True), head=dict(alpha=0.5))
train_dataloader = dict(sampler=dict(seed=0), dataset=dict(pipeline=_base_.test_pipeline, indices=160))
test_dataloader = dict(dataset=dict(ann_file='ImageNet_LT_train.txt'))
train_cfg = dict(max_epochs=2)
optim_wrapper = dict(optimizer=dict(lr=0.05))
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
"""


def test_two_ranks_test_as_one(two_rank_checkpoint, tmp_path):
    state = torch.load(two_rank_checkpoint, map_location='cpu', weights_only=False)['state_dict']
    assert state['head.fc.num_updates'] == 8 and state['head.fc.mean_feature'].any()

    run('bash', 'tools/dist_test.sh', DIGITS, two_rank_checkpoint, '2', '--out', tmp_path / 'two.json', '--out-item',
        'metrics', PORT=free_port())
    run('mim', 'test', 'mmpretrain', DIGITS, '--checkpoint', two_rank_checkpoint, '--out', tmp_path / 'one.json',
        '--out-item', 'metrics')
    assert metrics(tmp_path / 'two.json') == metrics(tmp_path / 'one.json') != {}


@pytest.fixture(scope='module')
def processes(imagenet_lt, tmp_path_factory):
    """Folders of a training and test in one process, and of another in two processes with half the batch each."""
    config = tmp_path_factory.mktemp('config') / 'same_in_any_split.py'
    config.write_text(SAME_IN_ANY_SPLIT)
    one, two = tmp_path_factory.mktemp('one'), tmp_path_factory.mktemp('two')

    def run_here(*command):
        run(*command, PORT=free_port(), PYTHONPATH=os.pathsep.join([str(ROOT / 'tests'), *sys.path]))

    def train(folder, batch_size):
        return ['--work-dir', folder, *imagenet_lt_options(imagenet_lt, f'train_dataloader.batch_size={batch_size}')]

    def test(folder):
        return ['--work-dir', folder, '--out', folder / 'metrics.json', '--out-item', 'metrics',
                *imagenet_lt_options(imagenet_lt)]

    run_here(sys.executable, 'tools/train.py', config, *train(one, 32))
    run_here(sys.executable, 'tools/test.py', config, one / 'epoch_2.pth', *test(one))
    run_here('bash', 'tools/dist_train.sh', config, '2', *train(two, 16))
    run_here('bash', 'tools/dist_test.sh', config, two / 'epoch_2.pth', '2', *test(two))
    return one, two


def losses(folder):
    logs = [file.read_text().splitlines() for file in folder.glob('*/vis_data/scalars.json')]
    return [row['loss'] for row in map(json.loads, sum(logs, [])) if 'loss' in row]


def weights(folder):
    return torch.load(folder / 'epoch_2.pth', map_location='cpu', weights_only=False)['state_dict']


def test_two_processes_train_as_one_on_imagenet_lt(processes):
    one, two = map(losses, processes)
    assert len(one) == 10
    np.testing.assert_allclose(two, one, rtol=1e-5)
    one, two = map(weights, processes)
    assert one['head.fc.num_updates'] == 10 and one['head.fc.mean_feature'].any()
    # Rounding may turn a ReLU or a maximum here and there; the losses above say whether the gradients are the same.
    # Features add up more of it than weights.
    mean, expected = two.pop('head.fc.mean_feature'), one.pop('head.fc.mean_feature')
    assert (mean - expected).norm() < 1e-2 * expected.norm()
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-3)


def test_two_processes_test_as_one_on_imagenet_lt(processes):
    one, two = (metrics(folder / 'metrics.json') for folder in processes)
    assert two == one and one['accuracy/top5'] > 0


@pytest.mark.parametrize('launcher', ['mpi', 'slurm'])
def test_ranks_of_other_launchers_are_those_of_pytorch(launcher, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    host = importlib.import_module('host')
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    for name, value in zip(host.LAUNCHERS[launcher], '581'):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, 'argv', ['train.py', 'config.py'])
    assert not host.is_rank()  # a process of a batch job is no rank
    monkeypatch.setattr(sys, 'argv', ['train.py', 'config.py', f'--launcher={launcher}'])
    monkeypatch.setenv('MASTER_ADDR', 'first')
    assert host.is_rank()
    found = [os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')]
    assert found == ['5', '8', '1', 'first', '29500']
    if launcher == 'slurm':
        monkeypatch.setenv('SLURM_NNODES', '2')
        monkeypatch.delenv('MASTER_ADDR')
        with pytest.raises(SystemExit, match='need MASTER_ADDR, the name of the first, but it is not set'):
            host.is_rank()
    monkeypatch.delenv(host.LAUNCHERS[launcher][0])
    with pytest.raises(SystemExit, match=f'--launcher {launcher} is for processes of .* but .* is not set'):
        host.is_rank()


def test_a_config_in_python_style_and_the_one_that_its_training_dumps(tmp_path):
    """It has classes instead of names, and no scope."""
    (tmp_path / 'classes.py').write_text("""from mmengine.dataset import DefaultSampler
from mmengine.optim import OptimWrapper
from mmpretrain.datasets import PackInputs
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import CrossEntropyLoss, GlobalAveragePooling, ImageClassifier
from torch.optim import SGD

from mmcausal.datasets import LongTailedDigits
from mmcausal.hooks import HeadDirectionHook
from mmcausal.models import DeconfoundHead, SmallConvNet

default_scope = None
head = dict(type=DeconfoundHead, num_classes=10, in_channels=256, loss=dict(type=CrossEntropyLoss), alpha=0.5)
model = dict(type=ImageClassifier, backbone=dict(type=SmallConvNet, in_channels=1),
             neck=dict(type=GlobalAveragePooling), head=head,
             data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor'))
train_dataloader = dict(batch_size=32, num_workers=0, persistent_workers=False,
                        sampler=dict(type=DefaultSampler, shuffle=True), dataset=dict(
                            type=LongTailedDigits, pipeline=[dict(type=PackInputs)]))
test_dataloader = dict(batch_size=32, num_workers=0, persistent_workers=False,
                       sampler=dict(type=DefaultSampler, shuffle=False), dataset=dict(
                           type=LongTailedDigits, split='test', pipeline=[dict(type=PackInputs)]))
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.1, momentum=0.9))
train_cfg, test_cfg, test_evaluator = dict(by_epoch=True, max_epochs=1), dict(), dict(type=Accuracy)
custom_hooks = [dict(type=HeadDirectionHook)]
""")
    run_tool('train.py', tmp_path / 'classes.py', '--work-dir', tmp_path / 'work')
    dumped = tmp_path / 'work' / 'classes.py'
    assert 'DeconfoundHead' in dumped.read_text()
    results = []
    for config in (tmp_path / 'classes.py', dumped):
        out = tmp_path / f'{len(results)}.json'
        run_tool('test.py', config, tmp_path / 'work' / 'epoch_1.pth', '--work-dir', tmp_path / 'tested',
                 '--out', out, '--out-item', 'metrics')
        results.append(metrics(out))
    assert results[0] == results[1] and 'accuracy/top1' in results[0]
