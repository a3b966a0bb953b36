"""Trainings that were stopped and resumed, against the same trainings without a stop."""
import copy
from itertools import product

import pytest
import torch
from helpers.commands import DIGITS, ROOT
from helpers.ranks import on_two_ranks
from helpers.runners import shapes_cfg
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from mmcausal.hooks import ExactResumeHook
from mmcausal.hooks.exact_resume_hook import accumulated, seed_of
from mmcausal.models import DeconfoundLinear

EPOCHS, STOP = 2, 1
CROP = dict(type='RandomCrop', crop_size=8, padding=1)
AUGMENTED = [CROP, dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
MIXUP = dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.)])


class Stop(Hook):
    """Ends a training as an interrupted process does: after an epoch's checkpoint, in the middle of the next epoch."""

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.epoch == STOP:
            raise KeyboardInterrupt


def digits_cfg(changes=None, validates=True):
    """Return the config of a small network for digits, with random augmentation and this hook."""
    cfg = Config.fromfile(ROOT / DIGITS)
    cfg.custom_hooks = [dict(type='mmcausal.ExactResumeHook'), dict(type='mmcausal.HeadDirectionHook')]
    cfg.train_dataloader.dataset.pipeline = AUGMENTED
    cfg.default_hooks.checkpoint.interval = 1
    cfg.train_cfg.update(max_epochs=EPOCHS, val_interval=1)
    cfg.randomness = dict(seed=0)
    cfg.merge_from_dict(changes or {})
    for split in ('test', ) if validates else ('val', 'test'):
        cfg[f'{split}_cfg'] = cfg[f'{split}_dataloader'] = cfg[f'{split}_evaluator'] = None
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
    'mixup and cutmix': {'model.train_cfg': MIXUP},
    'two workers, adamw': {**workers(2), 'optim_wrapper': dict(_delete_=True, optimizer=dict(type='AdamW', lr=1e-3))},
    'no seed, persistent worker, accumulation, bfloat16': {
        **workers(1, persistent=True), 'randomness': dict(seed=None), 'optim_wrapper.accumulative_counts': 5,
        'optim_wrapper.type': 'mmcausal.CPUAmpOptimWrapper'},
    'no seed, class-aware sampling': {
        'randomness': dict(seed=None),
        'train_dataloader.sampler': dict(type='mmcausal.ClassPowerSampler', _delete_=True)},
}


@pytest.mark.parametrize('name', TRAININGS)
def test_resumed_is_bit_equal(name, tmp_path):
    cfg = digits_cfg(TRAININGS[name], validates='workers' in name)  # a validation draws seeds for its workers
    straight = train(runner_of(cfg, tmp_path / 'straight'))
    assert compare(straight, train_with_a_stop(cfg, tmp_path / 'stopped', straight['meta']['seed'])) == []


def test_resumed_detector_is_bit_equal(shapes, tmp_path):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path)
    cfg.custom_hooks.append(dict(type='mmcausal.ExactResumeHook'))
    cfg.train_cfg.max_epochs = EPOCHS
    for split in ('val', 'test'):
        cfg[f'{split}_cfg'] = cfg[f'{split}_dataloader'] = cfg[f'{split}_evaluator'] = None
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True, batch_size=1, num_batch_per_epoch=3)
    cfg.default_hooks.checkpoint.interval = 1
    cfg.optim_wrapper.accumulative_counts = 2
    straight = train(runner_of(cfg, tmp_path / 'straight'))
    assert compare(straight, train_with_a_stop(cfg, tmp_path / 'stopped', 0)) == []


def test_epochs_and_ranks_have_their_own_seeds():
    assert len({seed_of(*where) for where in product(range(4), repeat=3)}) == 64
    assert all(0 <= seed_of(2 ** 31 - 1, epoch, 0) < 2 ** 31 for epoch in range(100))


def test_a_new_training_forgets_the_gradients_of_its_checkpoint(tmp_path):
    cfg = digits_cfg({'optim_wrapper.accumulative_counts': 3}, validates=False)
    saved = train(runner_of(cfg, tmp_path / 'first'))
    assert 'accumulated' not in saved  # the last iteration of a training always steps
    earlier = torch.load(tmp_path / 'first' / 'epoch_1.pth', map_location='cpu', weights_only=False)
    assert {'head.fc.weight', 'head.fc.observed'} <= set(earlier['accumulated'])
    runner = runner_of(cfg, tmp_path / 'second', load_from=str(tmp_path / 'first' / 'epoch_1.pth'))
    runner.register_hook(FirstGradient())
    with pytest.raises(StopIteration, match='None'):
        runner.train()


class FirstGradient(Hook):

    def before_train_iter(self, runner, *args, **kwargs):
        raise StopIteration(runner.model.head.fc.weight.grad)


def test_own_functions_of_workers_and_seeds_of_samplers_stay(tmp_path):
    cfg = digits_cfg({**workers(1), 'train_dataloader.sampler.seed': 7}, validates=False)
    runner = runner_of(cfg, tmp_path)
    runner.train_dataloader.worker_init_fn = init = 'own function'
    hook = ExactResumeHook()
    hook.before_run(runner)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.train_loop._iter, runner._seed = 8, 123
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    assert runner.train_dataloader.worker_init_fn is init and runner.train_dataloader.sampler.seed == 7


def test_other_loops_are_refused(tmp_path):
    cfg = digits_cfg({'train_cfg': dict(type='IterBasedTrainLoop', max_iters=4, _delete_=True)}, validates=False)
    with pytest.raises(ValueError, match='needs an EpochBasedTrainLoop, but got IterBasedTrainLoop'):
        runner_of(cfg, tmp_path).train()


def test_several_optimizers_are_refused(tmp_path):
    runner = runner_of(digits_cfg(validates=False), tmp_path)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = OptimWrapperDict(main=runner.build_optim_wrapper(runner.optim_wrapper))
    with pytest.raises(ValueError, match=r"needs one optimiser, but got an OptimWrapperDict of \['main'\]"):
        ExactResumeHook().before_train(runner)


def accumulate_on_a_rank(rank, folder):
    model = torch.nn.ModuleDict(dict(a=torch.nn.Linear(2, 1), b=torch.nn.Linear(2, 1), fc=DeconfoundLinear(2, 2)))
    for parameter in model['a' if rank else 'b'].parameters():  # each rank uses other parameters
        parameter.grad = torch.full_like(parameter, rank + 1)
    model.fc.observed += rank
    torch.save(accumulated(model), folder / f'{rank}.pth')


def test_ranks_save_their_mean(tmp_path):
    ranks = on_two_ranks(accumulate_on_a_rank, tmp_path)
    assert differences(*ranks) == [] and set(ranks[0]) == {'a.weight', 'a.bias', 'b.weight', 'b.bias', 'fc.observed'}
    assert torch.equal(ranks[0]['a.weight'], torch.tensor([[1., 1.]]))
    assert torch.equal(ranks[0]['b.weight'], torch.tensor([[.5, .5]])) and (ranks[0]['fc.observed'] == .5).all()
