"""Checkpoints of a training that is killed, or whose disk is full, at the worst moments."""
import itertools

import pytest
import torch
from helpers.commands import BASELINE, ROOT
from helpers.runners import baseline_cfg
from mmengine.config import Config
from mmengine.runner import Runner

from mmcausal.files import WriteError
from mmcausal.hooks import checkpoint_hook

NUMBERS = itertools.count()


class Killed(BaseException):
    """As kill -9: no handler ends it."""


def runner_of(work_dir, epochs=3, val_interval=100, **changes):
    settings = {'interval': 1, 'max_keep_ckpts': 1, **changes}
    cfg = baseline_cfg(work_dir, epochs, **{f'default_hooks.checkpoint.{key}': value
                                            for key, value in settings.items()})
    cfg.train_cfg.val_interval = val_interval
    cfg.experiment_name = f'{work_dir.name}_{next(NUMBERS)}'
    cfg.resume = True
    return Runner.from_cfg(cfg)


def checkpoints(work_dir):
    return sorted(path.name for path in work_dir.glob('*.pth'))


def weights(work_dir, epoch=3):
    return torch.load(work_dir / f'epoch_{epoch}.pth', weights_only=False)['state_dict']


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('undisturbed')
    runner_of(work_dir).train()
    return weights(work_dir)


def equal(state, other):
    return all(torch.equal(state[key], other[key]) for key in other)


@pytest.mark.parametrize('moment', ['before', 'half', 'after'])
def test_a_killed_save_leaves_the_checkpoint_before(tmp_path, monkeypatch, undisturbed, moment):
    write_bytes = checkpoint_hook.write_bytes

    def killed_at_second(path, content):
        if path.endswith('epoch_2.pth'):
            if moment == 'half':
                (tmp_path / '.epoch_2.pth.partial').write_bytes(content[:1000])
            if moment == 'after':
                write_bytes(path, content)
            raise Killed
        write_bytes(path, content)

    with monkeypatch.context() as context:
        context.setattr(checkpoint_hook, 'write_bytes', killed_at_second)
        with pytest.raises(Killed):
            runner_of(tmp_path).train()
    assert 'epoch_1.pth' in checkpoints(tmp_path)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_1.pth')
    runner_of(tmp_path).train()
    assert equal(weights(tmp_path), undisturbed)
    assert 'epoch_3.pth' in checkpoints(tmp_path) and not list(tmp_path.glob('.*'))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, undisturbed):
    def full(file, size, free):
        raise OSError(28, 'No space left on device')

    runner = runner_of(tmp_path)
    with monkeypatch.context() as context:
        write_bytes = checkpoint_hook.write_bytes

        def fill_at_second(path, content):
            if path.endswith('epoch_2.pth'):
                context.setattr('mmcausal.files._allocate', full)
            write_bytes(path, content)

        context.setattr(checkpoint_hook, 'write_bytes', fill_at_second)
        with pytest.raises(WriteError, match=r'epoch_2.pth cannot be written: it needs \d+ bytes, and \d+ are free '
                           r'\(No space left'):
            runner.train()
    assert checkpoints(tmp_path) == ['epoch_1.pth'] and not list(tmp_path.glob('.*'))
    runner_of(tmp_path).train()
    assert equal(weights(tmp_path), undisturbed) and checkpoints(tmp_path) == ['epoch_3.pth']


def test_the_best_checkpoint_stays_until_a_better_one_is_saved(tmp_path, monkeypatch):
    """The host removes the old one before it saves the new one."""
    seen = []
    write_bytes = checkpoint_hook.write_bytes

    def note(path, content):
        seen.append((path.rsplit('/', 1)[1], checkpoints(tmp_path)))
        write_bytes(path, content)

    monkeypatch.setattr(checkpoint_hook, 'write_bytes', note)
    scores = iter([1., 2., 0.])
    monkeypatch.setattr('mmcausal.evaluation.ShotAccuracy.compute_metrics', lambda *_: dict(overall=next(scores)))
    runner_of(tmp_path, val_interval=1, save_best='shot/overall', rule='greater').train()
    best = [f'best_shot_overall_epoch_{epoch}.pth' for epoch in (1, 2)]
    assert [name for name, _ in seen] == ['epoch_1.pth', best[0], 'epoch_1.pth', 'epoch_2.pth', best[1], 'epoch_2.pth',
                                          'epoch_3.pth']
    assert [found for name, found in seen if name == best[1]] == [[best[0], 'epoch_2.pth']]
    assert seen[3] == ('epoch_2.pth', [best[0], 'epoch_1.pth'])
    assert checkpoints(tmp_path) == [best[1], 'epoch_3.pth']


@pytest.mark.parametrize('content', ['', 'nowhere/epoch_9.pth', 'half'])
def test_last_checkpoint_is_repaired_before_a_resume(tmp_path, undisturbed, content):
    runner_of(tmp_path, max_keep_ckpts=2).train()
    last = tmp_path / 'epoch_3.pth'
    if content == 'half':  # as the host's hook leaves one
        content = str(last)
        last.write_bytes(last.read_bytes()[:-1000])
    else:
        last.unlink()
    (tmp_path / 'last_checkpoint').write_text(content)
    runner_of(tmp_path).train()
    assert equal(weights(tmp_path), undisturbed)


def test_a_whole_last_checkpoint_stays_also_if_it_is_not_the_newest(tmp_path):
    for name in ('epoch_2.pth', 'epoch_1.pth'):
        torch.save({}, tmp_path / name)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    checkpoint_hook.repair_last_checkpoint(tmp_path, 'epoch_{}.pth')
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')
    (tmp_path / 'last_checkpoint').write_text('s3://bucket/epoch_7.pth')  # the host's to find
    checkpoint_hook.repair_last_checkpoint(tmp_path, 'epoch_{}.pth')
    assert (tmp_path / 'last_checkpoint').read_text() == 's3://bucket/epoch_7.pth'


def test_another_folder_for_checkpoints(tmp_path):
    runner_of(tmp_path / 'run', epochs=2, out_dir=str(tmp_path / 'out')).train()
    assert checkpoints(tmp_path / 'out' / 'run') == ['epoch_2.pth'] and checkpoints(tmp_path / 'run') == []


@pytest.mark.parametrize('config', [BASELINE, 'configs/lvis/mask-rcnn_baseline_r50.py',
                                    'configs/own_data/faster-rcnn_baseline_r50.py'])
def test_configs_use_it_and_keep_the_options_of_the_host(config):
    cfg = Config.fromfile(ROOT / config)
    cfg.merge_from_dict({'default_hooks.checkpoint.interval': 5})
    assert cfg.default_hooks.checkpoint.type == 'mmcausal.CheckpointHook' and cfg.default_hooks.checkpoint.interval == 5
    assert cfg.default_hooks.logger.type == 'LoggerHook'


def test_numbers_in_the_names_may_be_padded(tmp_path):
    runner_of(tmp_path, epochs=2, filename_tmpl='epoch_{:03d}.pth').train()
    (tmp_path / 'last_checkpoint').unlink()
    runner = runner_of(tmp_path, filename_tmpl='epoch_{:03d}.pth')
    runner.call_hook('before_run')
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_002.pth')
    runner.train()
    assert checkpoints(tmp_path) == ['epoch_003.pth'] and runner.iter == 3 * len(runner.train_dataloader)


def test_a_published_checkpoint_is_not_one_to_resume_from(tmp_path):
    """It has the hash of its content after the number, and no state of the optimiser."""
    for name in ('epoch_1.pth', 'epoch_2-abcdef01.pth', 'best_epoch_2.pth'):
        torch.save({}, tmp_path / name)
    (tmp_path / 'epoch_2.pth').write_bytes(b'half')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    checkpoint_hook.repair_last_checkpoint(tmp_path, 'epoch_{}.pth')
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_1.pth')
