"""Trainings that diverge, and the checkpoints of one."""
import math

import pytest
import torch
from helpers.commands import BASELINE, DIGITS
from helpers.in_process import run_tool
from helpers.runners import digits_runner, head_of, train_stage_two

from mmcausal.hooks import HeadDirectionHook


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The folder of an ordinary training of an epoch."""
    folder = tmp_path_factory.mktemp('trained')
    digits_runner(folder).train()
    return folder


def spoilt(trained, out, *names):
    """Save the checkpoint with a nan in some entries."""
    checkpoint = torch.load(trained / 'epoch_1.pth', map_location='cpu', weights_only=False)
    for name in names:
        checkpoint['state_dict'][name].view(-1)[0] = math.nan
    torch.save(checkpoint, out)
    return str(out)


@pytest.mark.parametrize('lr', [math.nan, 1e30])
def test_skipped_batches_are_told_once_and_counted_at_the_end(tmp_path, lr):
    runner = digits_runner(tmp_path, **{'optim_wrapper.optimizer.lr': lr, 'train_cfg.max_epochs': 2,
                                        'default_hooks.checkpoint': None, 'model.head.alpha': 0.})
    messages = []
    runner.logger.warning = messages.append
    runner.train()
    told = [message for message in messages if 'left out of the head direction' in message]
    layer = runner.model.head.fc
    assert layer.num_updates == 16 - layer.num_skipped and layer.num_skipped >= 14  # the first step saw good weights
    first, last = told
    assert first.startswith(f'{layer.num_skipped - 8} training batches were left out of the head direction, because')
    assert last.startswith(f'In this training, {layer.num_skipped} training batches were left out')
    assert layer.mean_feature.isfinite().all()


def test_an_ordinary_training_skips_nothing(trained):
    log, = trained.glob('*/*.log')
    assert 'left out of the head direction' not in log.read_text()


@pytest.mark.parametrize('changes', [{}, {'resume': True, 'train_cfg.max_epochs': 2}])
@pytest.mark.parametrize('name', ['head.fc.mean_feature', 'head.fc.mean_cosine', 'head.fc.weight'])
def test_no_training_goes_on_from_values_that_are_not_finite(trained, tmp_path, name, changes):
    checkpoint = spoilt(trained, tmp_path / 'spoilt.pth', name)
    runner = digits_runner(tmp_path, load_from=checkpoint, **changes)
    with pytest.raises(ValueError, match='a checkpoint must have finite values, but 1 of'):
        runner.train()


def test_a_second_stage_needs_finite_features(trained, tmp_path):
    checkpoint = spoilt(trained, tmp_path / 'spoilt.pth', 'backbone.layers.0.0.weight')
    with pytest.raises(ValueError, match='1 of 576 in backbone.layers.0.0.weight are nan or infinite'):
        train_stage_two(tmp_path, checkpoint, head_of('TauNormLinear'))


@pytest.mark.parametrize('config, name', [(DIGITS, 'mean_feature'), (BASELINE, 'weight')])
def test_tools_say_so_in_one_sentence(trained, tmp_path, config, name):
    checkpoint = spoilt(trained, tmp_path / 'spoilt.pth', f'head.fc.{name}')
    output = run_tool('analysis/estimate_direction.py', config, checkpoint, tmp_path / 'out.pth', status=1)
    assert 'must have finite values, but 1 of' in output and 'Traceback' not in output
    assert not (tmp_path / 'out.pth').exists()


def test_without_a_model_there_is_nothing_to_tell():
    HeadDirectionHook().after_train_epoch(None)
