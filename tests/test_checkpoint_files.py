"""Reading of checkpoints without running anything in them."""
import contextlib
import os
import pickle

import numpy as np
import pytest
import torch
from helpers.commands import ROOT
from helpers.runners import digits_runner
from helpers.wrong_files import RunsCommand
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, Runner

from mmcausal.analysis import quiet_runner
from mmcausal.analysis.trained import load_weights
from mmcausal.checkpoint_files import load_from_local, read_checkpoint, safe_checkpoints


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The work directory of one epoch, with a checkpoint that has all that a training saves."""
    folder = tmp_path_factory.mktemp('trained')
    digits_runner(folder).train()
    return folder


def same(one, other):
    """Return whether two parts of a checkpoint are the same, at any depth, types included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, HistoryBuffer):
        return same(vars(one), vars(other))
    if isinstance(one, (torch.Tensor, np.ndarray)):
        return one.dtype == other.dtype and bool((one == other).all())
    return one == other


def test_a_training_checkpoint_is_read_whole(trained):
    path = str(trained / 'epoch_1.pth')
    expected = torch.load(path, map_location='cpu', weights_only=False)
    assert {'meta', 'message_hub', 'optimizer', 'param_schedulers', 'state_dict'} <= expected.keys()
    assert same(read_checkpoint(path), expected)
    assert not same(dict(expected, meta={}), expected)  # the test above can fail


@pytest.mark.parametrize('path', sorted((ROOT / 'docs' / 'results' / 'checkpoints').glob('*.pth')),
                         ids=lambda path: path.stem)
def test_published_checkpoints_are_read_whole(path):
    assert same(load_from_local(str(path)), torch.load(path, map_location='cpu', weights_only=False))


def test_a_training_goes_on_from_it(trained, tmp_path):
    finals = []
    for name in ('safe', 'host'):
        runner = digits_runner(tmp_path / name, **{'train_cfg.max_epochs': 2, 'resume': True,
                                                   'load_from': str(trained / 'epoch_1.pth')})
        if name == 'safe':
            with safe_checkpoints():
                runner.train()
        else:
            runner.train()
        finals.append(runner.model.state_dict())
    assert same(*finals)


def test_a_config_in_a_checkpoint_is_not_run(trained, tmp_path):
    """MMEngine looks for the number of GPUs in it, as older releases wrote it, when a training goes on."""
    checkpoint = torch.load(trained / 'epoch_1.pth', map_location='cpu', weights_only=False)
    checkpoint['meta']['config'] = f'__import__("os").mkdir({str(tmp_path / "ran")!r})\n'
    torch.save(checkpoint, tmp_path / 'c.pth')
    for name, context in (('safe', safe_checkpoints()), ('host', contextlib.nullcontext())):
        runner = digits_runner(tmp_path / name, resume=True, load_from=str(tmp_path / 'c.pth'))
        with context:
            runner.train()
        assert (tmp_path / 'ran').exists() == (name == 'host')


def test_the_hosts_reader_is_back_afterwards():
    before = CheckpointLoader._get_checkpoint_loader('a.pth')
    with pytest.raises(ZeroDivisionError), safe_checkpoints():
        assert CheckpointLoader._get_checkpoint_loader('a.pth') is load_from_local
        assert CheckpointLoader._get_checkpoint_loader('https://a.pth') is not load_from_local
        raise ZeroDivisionError
    assert CheckpointLoader._get_checkpoint_loader('a.pth') is before


class NamesAttribute:
    """An object that is unpickled as an attribute of another."""

    def __init__(self, owner, name):
        self.owner, self.name = owner, name

    def __reduce__(self):
        return getattr, (self.owner, self.name)


@pytest.mark.parametrize('is_zip', [True, False])
@pytest.mark.parametrize('key', ['meta', 'message_hub', 'optimizer', 'state_dict'])
@pytest.mark.parametrize('make', [RunsCommand, lambda _: NamesAttribute(HistoryBuffer, '__init__'),
                                  lambda _: NamesAttribute(os, 'system'), lambda _: torch.nn.Linear(2, 2)],
                         ids=['command', 'private', 'module', 'network'])
def test_nothing_in_a_checkpoint_is_run(trained, tmp_path, is_zip, key, make):
    checkpoint = torch.load(trained / 'epoch_1.pth', map_location='cpu', weights_only=False)
    checkpoint[key] = dict(checkpoint[key] if isinstance(checkpoint[key], dict) else {}, more=make(tmp_path / 'ran'))
    if isinstance(checkpoint[key]['more'], NamesAttribute) and checkpoint[key]['more'].owner is os:
        content = pickle.dumps(dict(state_dict={}), 2)[:-1] + b'0c__builtin__\ngetattr\n(cos\nsystem\nVx\ntR.'
        (tmp_path / 'c.pth').write_bytes(content)  # modules themselves cannot be pickled
    else:
        torch.save(checkpoint, tmp_path / 'c.pth', _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match='c.pth is not loaded, because it holds .*, which could run code'):
        load_from_local(str(tmp_path / 'c.pth'))
    assert not (tmp_path / 'ran').exists()


def test_old_and_mapped_checkpoints_are_read(tmp_path):
    state = {'a.weight': torch.rand(2, 3), 'b': torch.zeros(0, dtype=torch.int64), 'c': torch.tensor(True),
             'd': torch.rand(3).half(), 'e': torch.nn.Parameter(torch.rand(2)), 'f': torch.rand(2).bfloat16()}
    for is_zip in (True, False):
        checkpoint = dict(state_dict=state, meta=dict(seed=1, shape=torch.Size([2]), dtype=torch.float16, ids={1, 2}))
        torch.save(checkpoint, tmp_path / 'c.pth', _use_new_zipfile_serialization=is_zip)
        found = load_from_local(str(tmp_path / 'c.pth'))
        assert found['meta'] == checkpoint['meta']
        assert all(torch.equal(found['state_dict'][name], value) for name, value in state.items())
        mapped = load_from_local(str(tmp_path / 'c.pth'), map_location=lambda storage, _: storage)
        assert torch.equal(mapped['state_dict']['a.weight'], state['a.weight'])


def test_every_flipped_byte_of_a_tensor_is_noticed(tmp_path):
    torch.save(dict(a=torch.rand(50)), tmp_path / 'good.pth')
    content = (tmp_path / 'good.pth').read_bytes()
    start = content.index(torch.load(tmp_path / 'good.pth')['a'].numpy().tobytes())
    for offset in range(0, 200, 7):
        damaged = bytearray(content)
        damaged[start + offset] ^= 1
        (tmp_path / 'bad.pth').write_bytes(damaged)
        with pytest.raises(ValueError, match='bad.pth must be a checkpoint, but is damaged: .* has another check sum'):
            load_from_local(str(tmp_path / 'bad.pth'))


def test_every_truncated_checkpoint_is_named(tmp_path):
    for is_zip in (True, False):
        torch.save(dict(a=torch.rand(50)), tmp_path / 'good.pth', _use_new_zipfile_serialization=is_zip)
        content = (tmp_path / 'good.pth').read_bytes()
        for end in range(0, len(content) - 1, 37):
            (tmp_path / 'bad.pth').write_bytes(content[:end])
            with pytest.raises(ValueError, match='bad.pth must be a checkpoint, but '):
                load_from_local(str(tmp_path / 'bad.pth'))


def test_weights_of_another_network_are_refused_before_a_test(trained, tmp_path):
    """Not only the classifier's: with a random backbone, every result would mean nothing."""
    checkpoint = torch.load(trained / 'epoch_1.pth', map_location='cpu', weights_only=False)
    name = next(name for name in checkpoint['state_dict'] if name.startswith('backbone'))
    del checkpoint['state_dict'][name]
    torch.save(checkpoint, tmp_path / 'other.pth')
    words = rf'checkpoint {tmp_path}/other.pth is not one of this ImageClassifier: {name} has shape .* another network'
    runner = digits_runner(tmp_path / 'work', load_from=str(tmp_path / 'other.pth'))
    with pytest.raises(ValueError, match=words):
        runner.test()
    with pytest.raises(ValueError, match=words):
        load_weights(quiet_runner(str(ROOT / 'configs/digits_lt/deconfound-tde_small_ir100.py'),
                                  str(tmp_path / 'other.pth'), name='other'))
    runner.train()  # it may start from it
    assert 'accuracy/top1' in runner.test()


def test_a_training_does_not_go_on_from_weights_alone(trained, tmp_path):
    state = torch.load(trained / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    torch.save(dict(state_dict=state), tmp_path / 'weights.pth')
    runner = digits_runner(tmp_path, resume=True, load_from=str(tmp_path / 'weights.pth'))
    assert isinstance(runner, Runner)
    with pytest.raises(ValueError, match=r'must go on \(resume\) .* but .*weights.pth has weights alone; start from'):
        runner.train()
