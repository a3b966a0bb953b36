"""Trainings that were stopped and resumed, against the same trainings without a stop."""
import copy

import pytest
import torch
from helpers.commands import CONFIGS, DIGITS, ROOT
from helpers.runners import bbn, digits_runner, shapes_cfg
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from mmcausal.hooks import ExactResumeHook
from mmcausal.hooks.exact_resume_hook import seed_of

EPOCHS, STOP = 3, 1
AUGMENTED = [dict(type='RandomCrop', crop_size=8, padding=1), dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
MIXUP = dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.)])
HEAD = dict(type='mmcausal.DeconfoundHead', num_classes=10, in_channels=256)


class Stop(Hook):
    """Ends a training as an interrupted process does: after an epoch's checkpoint, in the middle of the next epoch."""

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.epoch == STOP:
            raise KeyboardInterrupt


def digits_cfg(changes, hooks=('mmcausal.ExactResumeHook', )):
    """Return the config of a narrow network for digits, with random augmentation."""
    cfg = Config.fromfile(ROOT / DIGITS)
    cfg.custom_hooks = [*(dict(type=name) for name in hooks), dict(type='mmcausal.HeadDirectionHook')]
    cfg.train_dataloader.dataset.pipeline = AUGMENTED
    cfg.default_hooks.checkpoint.interval = 1
    cfg.train_cfg.update(max_epochs=EPOCHS, val_interval=1)
    cfg.randomness = dict(seed=0)
    cfg.merge_from_dict(changes)
    return cfg


def runner_of(cfg, work_dir, **changes):
    cfg = copy.deepcopy(cfg)
    cfg.update(work_dir=str(work_dir), experiment_name=f'{work_dir}_{len(changes)}', **changes)
    return Runner.from_cfg(cfg)


def train(runner):
    """Train and return the last checkpoint."""
    runner.train()
    return torch.load(f'{runner.work_dir}/epoch_{EPOCHS}.pth', map_location='cpu', weights_only=False)


def train_with_a_stop(cfg, work_dir, seed):
    """Train with ``seed``, stop, resume with the seed of the config or without, and return the last checkpoint."""
    stopped = runner_of(cfg, work_dir, randomness=dict(seed=seed))
    stopped.register_hook(Stop())
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    torch.rand(7)  # another process would have other generators
    return train(runner_of(cfg, work_dir, resume=True))


def differences(left, right, path=''):
    """Return the paths at which two nested states differ in a bit."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = set(left) | set(right)
        return [d for key in sorted(keys, key=str) for d in differences(left.get(key), right.get(key), f'{path}/{key}')]
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)) and len(left) == len(right):
        return [d for index, pair in enumerate(zip(left, right)) for d in differences(*pair, f'{path}/{index}')]
    equal = torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right
    return [] if equal else [path]


def compare(straight, resumed):
    """Return what differs in weights, directions, optimiser and schedules."""
    parts = ('state_dict', 'optimizer', 'param_schedulers', 'ema_state_dict')
    return differences(*({part: saved.get(part) for part in parts} for saved in (straight, resumed)))


def workers(number, persistent=False):
    return {'train_dataloader.num_workers': number, 'train_dataloader.persistent_workers': persistent}


TRAININGS = {
    'accumulation over the end of an epoch': {'optim_wrapper.accumulative_counts': 3},
    'accumulation, bfloat16': {'optim_wrapper.accumulative_counts': 5,
                               'optim_wrapper.type': 'mmcausal.CPUAmpOptimWrapper'},
    'mixup and cutmix': {'model.train_cfg': MIXUP},
    'two workers': workers(2),
    'persistent workers, mixup': {**workers(2, persistent=True), 'model.train_cfg': MIXUP},
    'no seed': {'randomness': dict(seed=None)},
    'no seed, persistent workers, accumulation': {**workers(1, persistent=True), 'randomness': dict(seed=None),
                                                  'optim_wrapper.accumulative_counts': 3},
    'no seed, class-aware sampling': {'randomness': dict(seed=None),
                                      'train_dataloader.sampler': dict(type='mmcausal.ClassPowerSampler')},
    'adamw': {'optim_wrapper': dict(_delete_=True, optimizer=dict(type='AdamW', lr=1e-3))},
}


@pytest.mark.parametrize('name', TRAININGS)
def test_resumed_is_bit_equal(name, tmp_path):
    cfg = digits_cfg(TRAININGS[name])
    straight = train(runner_of(cfg, tmp_path / 'straight'))
    assert compare(straight, train_with_a_stop(cfg, tmp_path / 'stopped', straight['meta']['seed'])) == []
