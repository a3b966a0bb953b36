"""MMEngine's strategies: two ranks under each that runs on a CPU, and what is refused."""
import contextlib
import os
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from helpers.commands import DIGITS, ROOT
from helpers.ranks import on_two_ranks
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner
from torch.distributed.fsdp import FullyShardedDataParallel

from mmcausal.hooks.strategies import check_strategy, has_stepped, refuse_shared_gradients
from mmcausal.hooks.utils import is_sharded, unwrap
from mmcausal.models import DeconfoundLinear

FSDP = dict(type='FSDPStrategy', state_dict_cfg='local',
            model_wrapper=dict(type='MMFullyShardedDataParallel', device_id=torch.device('cpu'), use_orig_params=True))
DDP = dict(type='DDPStrategy', model_wrapper=dict(type='MMDistributedDataParallel', device_ids=None,
                                                  broadcast_buffers=False))
STAGES = [dict(type='DeepSpeedStrategy', zero_optimization=dict(stage=stage), train_micro_batch_size_per_gpu=16,
               config=dict(zero_allow_untested_optimizer=True)) for stage in (1, 3)]
is_old = tuple(map(int, torch.__version__.split('.')[:2])) < (2, 4)
needs_fsdp = pytest.mark.skipif(is_old, reason='FSDP of this PyTorch needs a GPU')
needs_deepspeed = pytest.mark.skipif(find_spec('deepspeed') is None, reason='DeepSpeed is not installed')
SHARDED = [pytest.param(FSDP, marks=needs_fsdp, id='fsdp'),
           *(pytest.param(strategy, marks=needs_deepspeed, id=f'zero-{stage}')
             for stage, strategy in zip((1, 3), STAGES))]


def digits_cfg(folder, strategy, **changes):
    cfg = Config.fromfile(ROOT / DIGITS)
    cfg.merge_from_dict({'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 1, 'randomness.seed': 0, **changes})
    cfg.work_dir, cfg.experiment_name, cfg.launcher = str(folder), folder.name, 'pytorch'
    cfg.param_scheduler = None  # else it would depend on the number of epochs
    if strategy:
        cfg.runner_type, cfg.strategy = 'FlexibleRunner', strategy
        cfg.pop('auto_scale_lr', None)
    else:
        cfg.model_wrapper_cfg = DDP['model_wrapper']
    return cfg


def join_without_gpu():
    """Let MMEngine's strategy take the process group as it is, instead of choosing the GPU of the rank."""
    import deepspeed
    from mmengine._strategy import deepspeed as strategy
    strategy.init_dist = lambda *args, **kwargs: deepspeed.init_distributed(dist_backend='gloo')


def whole_weights(model):
    """Return a context in which each rank holds all weights."""
    if isinstance(model, FullyShardedDataParallel):
        return FullyShardedDataParallel.summon_full_params(model)
    if is_sharded(model):
        import deepspeed
        return deepspeed.zero.GatheredParameters([*unwrap(model).parameters()])
    return contextlib.nullcontext()


def train_on_a_rank(rank, folder, strategy, changes):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    init_default_scope('mmpretrain')
    cfg = digits_cfg(folder, strategy, **changes)
    if strategy and strategy['type'] == 'DeepSpeedStrategy':
        cfg.optim_wrapper.type = 'DeepSpeedOptimWrapper'
        join_without_gpu()
    runner = RUNNERS.build(cfg) if strategy else Runner.from_cfg(cfg)
    runner.train()
    with whole_weights(runner.model):
        state = {name: value.clone() for name, value in unwrap(runner.model).state_dict().items()}
    state['shot'] = torch.as_tensor(runner.message_hub.get_scalar('val/shot/overall').current())
    torch.save(state, folder / f'{rank}.pth')


def train(folder, strategy=None, **changes):
    """Return the state of the model of each of two ranks after a training, with the accuracy of its validation."""
    (folder / 'store').unlink(missing_ok=True)
    return on_two_ranks(train_on_a_rank, folder, strategy, changes)


def assert_alike(states, expected):
    assert states[0].keys() == expected.keys() >= {'head.fc.mean_feature', 'head.fc.mean_cosine', 'head.fc.weight'}
    for name in (name for name in expected if 'running' not in name):  # those of BatchNorm, one for each rank
        assert torch.equal(states[0][name], states[1][name])
        torch.testing.assert_close(states[0][name], expected[name], rtol=1e-4, atol=1e-5)
    assert states[0]['shot'] == expected['shot']
    assert expected['head.fc.num_updates'] > 0


@pytest.fixture(scope='module')
def by_the_runner(tmp_path_factory):
    # Without ChannelsLastHook, which leaves the formats under a strategy's wrapper: in another format, convolutions
    # round otherwise, and a training makes more of it.
    return train(tmp_path_factory.mktemp('runner'), custom_hooks=[dict(type='mmcausal.HeadDirectionHook')])[0]


@pytest.mark.parametrize('strategy', [pytest.param(DDP, id='ddp'), *SHARDED])
def test_ranks_under_a_strategy_train_as_by_the_runner(tmp_path, strategy, by_the_runner):
    assert_alike(train(tmp_path, strategy), by_the_runner)


def test_one_device_trains_as_by_the_runner(tmp_path):
    states = []
    for name, strategy in (('runner', None), ('strategy', dict(type='SingleDeviceStrategy'))):
        cfg = digits_cfg(tmp_path / name, strategy)
        cfg.launcher = 'none'
        runner = RUNNERS.build(cfg) if strategy else Runner.from_cfg(cfg)
        runner.train()
        states.append(runner.model.state_dict())
    assert states[0]['head.fc.num_updates'] > 0
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('strategy', [pytest.param(DDP, id='ddp'), *SHARDED[1:]])
def test_a_training_resumes(tmp_path, strategy, by_the_runner):
    train(tmp_path, strategy, **{'train_cfg.max_epochs': 1})
    assert_alike(train(tmp_path, strategy, resume=True), by_the_runner)


@needs_fsdp
def test_a_sharded_direction_is_loaded(tmp_path, by_the_runner):
    train(tmp_path, FSDP, **{'train_cfg.max_epochs': 1})
    hooks = [dict(type='mmcausal.HeadDirectionHook', keep_direction=True)]
    states = train(tmp_path, FSDP, load_from=str(tmp_path / 'epoch_1.pth'), custom_hooks=hooks)
    assert states[0]['head.fc.num_updates'] == by_the_runner['head.fc.num_updates'] * 3 / 2
    assert 'are left out' not in ''.join(path.read_text() for path in tmp_path.glob('*/*.log'))


def runner_under(name, **attributes):
    model = DeconfoundLinear(8, 6)
    for key, value in attributes.items():
        setattr(model, key, value)
    return SimpleNamespace(strategy=type(name, (), {})(), model=model)


def test_other_strategies_and_half_averages_are_refused():
    check_strategy(SimpleNamespace(model=DeconfoundLinear(8, 6)))
    check_strategy(runner_under('DDPStrategy'))
    check_strategy(runner_under('FSDPStrategy', mixed_precision=SimpleNamespace(buffer_dtype=None)))
    with pytest.raises(ValueError, match='strategy must be one of .* but got ColossalAIStrategy'):
        check_strategy(runner_under('ColossalAIStrategy'))
    half = SimpleNamespace(buffer_dtype=torch.bfloat16)
    with pytest.raises(ValueError, match='buffer_dtype must be float32, but got torch.bfloat16'):
        check_strategy(runner_under('FSDPStrategy', mixed_precision=half))


def test_averages_of_shards_are_refused():
    runner = runner_under('DeepSpeedStrategy')
    runner.hooks = [EMAHook()]
    check_strategy(runner)
    runner.model.weight.ds_id = 0
    with pytest.raises(ValueError, match='EMAHook averages whole weights, but DeconfoundLinear shares them out'):
        check_strategy(runner)


def test_gradients_of_shards_and_of_deepspeed_are_not_saved():
    runner = runner_under('DDPStrategy')
    refuse_shared_gradients('ExactResumeHook', runner)
    runner.model.weight.ds_id = 0
    with pytest.raises(ValueError, match='ExactResumeHook needs all weights and gradients on each rank'):
        refuse_shared_gradients('ExactResumeHook', runner)
    with pytest.raises(ValueError, match='ExactResumeHook needs all weights and gradients on each rank'):
        refuse_shared_gradients('ExactResumeHook', runner_under('DeepSpeedStrategy'))


def test_steps_of_deepspeed_are_those_of_its_engine():
    engine = SimpleNamespace(micro_steps=0, gradient_accumulation_steps=lambda: 3)
    steps = []
    for engine.micro_steps in range(1, 7):
        steps.append(has_stepped(SimpleNamespace(model=engine)))
    assert steps == [False, False, True, False, False, True]
