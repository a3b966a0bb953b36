"""When the head direction is updated, by one process and by two ranks."""
from types import SimpleNamespace

import pytest
import torch
from helpers.commands import CONFIGS, DIGITS, ROOT
from helpers.ranks import on_two_ranks
from helpers.runners import digits_runner
from helpers.supported_classifiers import SigmoidHead, TwoClassifierHead, built
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner

from mmcausal.hooks import HeadDirectionHook
from mmcausal.models import DeconfoundLinear, DetectionDeconfoundLinear
from mmcausal.processes import process_group


def recorded_means(runner):
    """Return a list that collects the batch means of the classifier's input."""
    means = []
    runner.model.head.fc.register_forward_pre_hook(
        lambda layer, inputs: means.append(inputs[0].detach().mean(0)) if layer.training else None)
    return means


@pytest.fixture(scope='module')
def earlier(tmp_path_factory):
    """The checkpoint of an epoch of the de-confounded classifier of digits."""
    work_dir = tmp_path_factory.mktemp('earlier')
    digits_runner(work_dir).train()
    return str(work_dir / 'epoch_1.pth')


def test_direction_in_a_real_run(tmp_path):
    runner = digits_runner(tmp_path)
    means = recorded_means(runner)
    runner.train()
    layer = runner.model.head.fc
    expected = torch.zeros(256)
    for mean in means:
        expected = 0.9 * expected + 0.1 * mean  # 'auto' is SGD's momentum
    torch.testing.assert_close(layer.mean_feature, expected)
    assert layer.num_updates == len(means) == 8
    assert next(p for p in runner.model.parameters() if p.ndim == 4).is_contiguous(memory_format=torch.channels_last)

    saved = torch.load(tmp_path / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    assert torch.equal(saved['head.fc.mean_feature'], layer.mean_feature)
    assert 'head.fc.observed' not in saved


@pytest.mark.parametrize('changes, updates', [
    ({}, 8),  # from zero: the features are about to change
    ({'custom_hooks.1.keep_direction': True}, 16),
    ({'resume': True, 'train_cfg.max_epochs': 2}, 16),
])
def test_a_new_training_starts_from_zero(earlier, tmp_path, changes, updates):
    index = [hook['type'] for hook in Config.fromfile(ROOT / DIGITS).custom_hooks].index('mmcausal.HeadDirectionHook')
    changes = {key.replace('hooks.1', f'hooks.{index}'): value for key, value in changes.items()}
    runner = digits_runner(tmp_path, load_from=earlier, **changes)
    means = recorded_means(runner)
    runner.train()
    layer = runner.model.head.fc
    assert layer.num_updates == updates
    if updates == 8:
        expected = torch.zeros(256)
        for mean in means:
            expected = 0.9 * expected + 0.1 * mean
        torch.testing.assert_close(layer.mean_feature, expected)


@pytest.mark.parametrize('update_buffers', [False, True])
def test_an_averaged_model_starts_from_zero_too(earlier, tmp_path, update_buffers):
    cfg = Config.fromfile(ROOT / DIGITS)
    hooks = [*cfg.custom_hooks, dict(type='EMAHook', momentum=0.5, update_buffers=update_buffers)]
    runner = digits_runner(tmp_path, load_from=earlier, custom_hooks=hooks)
    means = recorded_means(runner)
    runner.train()
    direction = averaged = torch.zeros(256)
    for step, mean in enumerate(means):
        direction = 0.9 * direction + 0.1 * mean
        averaged = direction if step == 0 or not update_buffers else 0.5 * averaged + 0.5 * direction
    saved = torch.load(tmp_path / 'epoch_1.pth', map_location='cpu', weights_only=False)
    torch.testing.assert_close(runner.model.head.fc.mean_feature, direction)
    torch.testing.assert_close(saved['state_dict']['head.fc.mean_feature'], averaged)  # what a test loads
    torch.testing.assert_close(saved['ema_state_dict']['module.head.fc.mean_feature'], direction)  # what resume loads


def test_resuming_keeps_every_bit(earlier, tmp_path):
    runner = digits_runner(tmp_path, load_from=earlier, resume=True)  # a finished training: no step follows
    runner.train()
    saved = torch.load(earlier, map_location='cpu', weights_only=False)['state_dict']
    own = runner.model.state_dict()
    assert runner.iter == 8 and own.keys() == saved.keys() and all(torch.equal(own[name], saved[name]) for name in own)


def test_nothing_to_resume_from(tmp_path):
    runner = digits_runner(tmp_path, resume=True)  # as --resume in an empty folder
    runner.train()
    assert runner.model.head.fc.num_updates == 8


def test_validation_before_training_has_the_direction_of_the_checkpoint(earlier, tmp_path):
    runner = digits_runner(tmp_path / 'a', load_from=earlier)
    before = runner.val()
    assert before == digits_runner(tmp_path / 'b', load_from=earlier).val() and runner.model.head.fc.num_updates == 8
    runner.train()
    assert runner.model.head.fc.num_updates == 8  # from zero


def test_validation_before_the_first_update_is_by_the_total_effect(earlier, tmp_path):
    changes = {'train_cfg': dict(_delete_=True, type='IterBasedTrainLoop', max_iters=4, val_interval=2),
               'optim_wrapper.accumulative_counts': 4, 'param_scheduler': None, 'default_hooks.checkpoint': None}
    runner = digits_runner(tmp_path, load_from=earlier, **changes)
    layer, alphas, messages = runner.model.head.fc, [], []
    layer.register_forward_pre_hook(lambda _, args: alphas.append(layer.alpha) if not layer.training else None)
    runner.logger.warning = messages.append
    runner.train()
    assert alphas == [0., 1., 0.]  # the second validation reports both
    assert layer.alpha == 1. and layer.num_updates == 1
    told = [message for message in messages if 'by the total effect' in message]
    assert len(told) == 1 and 'nothing has moved the head direction yet' in told[0]


@pytest.mark.parametrize('keep_direction', [False, True])
def test_second_stage_of_a_deconfounded_first(earlier, tmp_path, keep_direction):
    hooks = [dict(type='mmcausal.RestartClassifierHook'),
             dict(type='mmcausal.HeadDirectionHook', keep_direction=keep_direction)]
    runner = digits_runner(tmp_path, load_from=earlier, custom_hooks=hooks,
                           **{'model.type': 'mmcausal.StageTwoClassifier'})
    means = recorded_means(runner)
    runner.train()
    saved = torch.load(earlier, map_location='cpu', weights_only=False)['state_dict']
    expected = saved['head.fc.mean_feature'] if keep_direction else torch.zeros(256)
    for mean in means:
        expected = 0.9 * expected + 0.1 * mean
    torch.testing.assert_close(runner.model.head.fc.mean_feature, expected)
    assert runner.model.head.fc.num_updates == (16 if keep_direction else 8)


def test_a_wrapped_model_starts_from_zero(earlier, tmp_path):
    with process_group(init_method=f'file://{tmp_path}/store', rank=0, world_size=1):
        hooks = [dict(type='mmcausal.HeadDirectionHook')]
        runner = digits_runner(tmp_path, load_from=earlier, custom_hooks=hooks)
        runner.model = MMDistributedDataParallel(runner.model, broadcast_buffers=False)
        runner.train()
        assert runner.model.module.head.fc.num_updates == 8
        fewer = digits_runner(tmp_path / 'fewer', load_from=earlier, custom_hooks=hooks,
                              **{'model.head.num_classes': 9})
        fewer.model = MMDistributedDataParallel(fewer.model, broadcast_buffers=False)
        with pytest.raises(ValueError, match=r'head.fc.weight has shape \(9, 256\) here, but \(10, 256\) in the'):
            fewer.test()


def test_gradient_accumulation_moves_once_a_step(tmp_path):
    runner = digits_runner(tmp_path, **{'optim_wrapper.accumulative_counts': 4})
    runner.train()
    assert runner.model.head.fc.num_updates == 2


@pytest.mark.parametrize('optimizer, momentum', [
    (lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.5), 0.5),
    (lambda params: torch.optim.AdamW(params, betas=(0.8, 0.99)), 0.8),
])
def test_auto_momentum_is_the_optimisers(optimizer, momentum):
    wrapper = OptimWrapper(optimizer([torch.nn.Parameter(torch.zeros(1))]))
    layer = DeconfoundLinear(8, 6)
    runner = SimpleNamespace(model=layer, optim_wrapper=wrapper)
    hook = HeadDirectionHook()
    hook.before_train(runner)
    layer(torch.ones(3, 8))
    hook.after_train_iter(runner, 0)
    torch.testing.assert_close(layer.mean_feature, torch.full((8, ), 1 - momentum))


def test_optimiser_without_momentum_is_refused():
    wrapper = OptimWrapper(torch.optim.Adagrad([torch.nn.Parameter(torch.zeros(1))]))
    with pytest.raises(ValueError, match='neither momentum nor betas in Adagrad'):
        HeadDirectionHook().before_train(SimpleNamespace(model=DeconfoundLinear(8, 6), optim_wrapper=wrapper))


def test_several_optimisers_are_refused():
    parameter = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapperDict(a=OptimWrapper(torch.optim.SGD([parameter], lr=0.1, momentum=0.9)))
    for momentum in ('auto', 0.9):
        with pytest.raises(ValueError, match=r"one optimiser, but got an OptimWrapperDict of \['a'\]"):
            HeadDirectionHook(momentum).before_train(
                SimpleNamespace(model=DeconfoundLinear(8, 6), optim_wrapper=wrapper))


def test_bad_use(tmp_path):
    for momentum in (1., -0.1, 'adam', None, True):
        with pytest.raises(ValueError, match='momentum must be a number in'):
            HeadDirectionHook(momentum)
    without = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1))
    with pytest.raises(ValueError, match='found neither momentum nor betas in SGD'):
        HeadDirectionHook().before_train(SimpleNamespace(model=DeconfoundLinear(8, 6), optim_wrapper=without))
    runner = SimpleNamespace(model=torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match='needs a model with a TDELinear such as DeconfoundLinear, .* got Linear'):
        HeadDirectionHook().before_train(runner)


def test_num_classes_must_fit_the_data(tmp_path):
    runner = digits_runner(tmp_path, **{'model.head.num_classes': 9})
    with pytest.raises(ValueError, match='the classifier has 9 classes, and the training data 10'):
        runner.train()
    baseline = Config.fromfile(CONFIGS / 'digits_lt' / 'linear_small_ir100.py')
    baseline.merge_from_dict({'model.head.num_classes': 9, 'work_dir': str(tmp_path), 'experiment_name': 'baseline'})
    with pytest.raises(AssertionError, match=r'`num_classes` \(9\) in LinearClsHead'):  # the host's own check
        Runner.from_cfg(baseline).train()


def observe_on_a_rank(rank, folder):
    layer = DeconfoundLinear(8, 6)
    hook = HeadDirectionHook(momentum=0.9)
    runner = SimpleNamespace(model=layer, optim_wrapper=SimpleNamespace(should_update=lambda: True))
    hook.before_train(runner)
    for step in range(3):
        layer(rank_batch(rank, step))
        hook.after_train_iter(runner, step)
    torch.save(layer.state_dict(), folder / f'{rank}.pth')


def rank_batch(rank, step):
    """Return the batch of a rank; sizes differ, and in step 1 the second rank has no sample."""
    samples = (5, 3) if step != 1 else (4, 0)
    return torch.arange(1., 8 * samples[rank] + 1).view(-1, 8).cos() + rank + step


def observe_foreground_on_a_rank(rank, folder):
    """A cascade of three stages; in step 1, the second rank has no foreground."""
    stages = torch.nn.ModuleList(DetectionDeconfoundLinear(8, 6) for _ in range(3))
    hook = HeadDirectionHook(momentum=0.9)
    runner = SimpleNamespace(model=stages, optim_wrapper=SimpleNamespace(should_update=lambda: True))
    hook.before_train(runner)
    for step in range(3):
        for index, layer in enumerate(stages):
            background = torch.full((2, 8), 100.)
            foreground = rank_batch(rank, step) + index
            with layer.observing(torch.arange(len(foreground) + 2) < len(foreground)):
                layer(torch.cat([foreground, background]))
        hook.after_train_iter(runner, step)
    torch.save(stages.state_dict(), folder / f'{rank}.pth')


def test_ranks_keep_the_foreground_direction_of_each_stage(tmp_path):
    ranks = on_two_ranks(observe_foreground_on_a_rank, tmp_path)
    for index in range(3):
        mean = torch.zeros(8)
        for step in range(3):
            mean = 0.9 * mean + 0.1 * (torch.cat([rank_batch(0, step), rank_batch(1, step)]) + index).mean(0)
        assert torch.equal(ranks[0][f'{index}.mean_feature'], ranks[1][f'{index}.mean_feature'])
        torch.testing.assert_close(ranks[0][f'{index}.mean_feature'], mean)


def test_ranks_keep_the_direction_of_the_whole_batch(tmp_path):
    ranks = on_two_ranks(observe_on_a_rank, tmp_path)
    mean = torch.zeros(8)
    for step in range(3):
        mean = 0.9 * mean + 0.1 * torch.cat([rank_batch(0, step), rank_batch(1, step)]).mean(0)
    for name in ('mean_feature', 'mean_cosine', 'num_updates'):
        assert torch.equal(ranks[0][name], ranks[1][name])
    torch.testing.assert_close(ranks[0]['mean_feature'], mean)


def validate_with(tmp_path, alpha, **changes):
    """Train for two epochs, validate after each, and return the Runner, the last metrics and the log."""
    options = {'model.head.alpha': alpha, 'train_cfg.max_epochs': 2, 'default_hooks.checkpoint.interval': 1}
    runner = digits_runner(tmp_path / 'my runs', **{**options, **changes})
    runner.train()
    log, = (tmp_path / 'my runs').glob('*/*.log')
    return runner, runner.val_loop.run(), log.read_text()


def test_validation_reports_both_effects_and_says_where_tde_is_worse(tmp_path):
    runner, both, log = validate_with(tmp_path, alpha=5.)
    runner.model.head.fc.alpha = 0.
    alone = runner.val_loop.run()
    for name, value in alone.items():
        if name.startswith('shot/'):
            assert both[name.replace('shot/', 'shot/total_effect_')] == value
    assert not any('total_effect' in name for name in alone)
    assert not runner.model._forward_hooks and not runner.model.head._forward_hooks
    assert both['shot/overall'] < both['shot/total_effect_overall']
    warnings = [line for line in log.splitlines() if 'is worse here than the total effect' in line]
    assert len(warnings) == 2
    assert f"(alpha=0): {both['shot/overall']:.2f} % against {both['shot/total_effect_overall']:.2f} %." in warnings[1]
    assert warnings[1].endswith(f"python tools/analysis/sweep_alpha.py {ROOT / DIGITS} "
                                f"'{tmp_path}/my runs/epoch_2.pth' --write-config OUT.py")


def test_validation_without_harm_warns_of_nothing(tmp_path):
    runner, metrics, log = validate_with(tmp_path, alpha=1e-6)
    assert metrics['shot/overall'] == metrics['shot/total_effect_overall'] and 'is worse here' not in log
    test = runner.test()
    assert test['shot/few'] == test['shot/total_effect_few'] and not runner.model._forward_hooks


def test_the_warning_knows_no_more_than_the_runner(tmp_path):
    """Without a config file and a checkpoint, and with another layer than ``head.fc``."""
    model = torch.nn.ModuleDict(dict(classifier=DeconfoundLinear(8, 6, alpha='auto')))
    warnings = []
    runner = SimpleNamespace(model=model, work_dir=tmp_path, cfg=Config(),
                             logger=SimpleNamespace(warning=warnings.append))
    hook = HeadDirectionHook()
    hook.before_val_epoch(runner)
    hook.after_val_epoch(runner, {'a/overall': 3., 'a/total_effect_overall': 4., 'b/overall': 3.,
                                  'b/total_effect_overall': 4.})
    warning, = warnings
    assert warning.endswith('sweep_alpha.py CONFIG CHECKPOINT --write-config OUT.py --classifier classifier')
    hook.after_val_epoch(runner)
    hook.after_val_epoch(runner, {'accuracy/top1': 3.})
    assert len(warnings) == 1


@pytest.mark.parametrize('head, words', [
    (SigmoidHead, 'SigmoidHead scores each class by itself'),
    (TwoClassifierHead, "TwoClassifierHead are not of 'head.fc' alone"),
])
def test_a_head_without_tde_is_refused_before_training(head, words):
    model = torch.nn.ModuleDict(dict(head=head(num_classes=6, in_channels=8)))
    model.head.fc = DeconfoundLinear(8, 6)
    with pytest.raises(ValueError, match=f'{words}.*; use'):
        HeadDirectionHook(0.9).before_train(SimpleNamespace(model=model))


def test_the_memory_of_oltr_is_no_classifier_to_check():
    model = torch.nn.ModuleDict(dict(head=built(type='mmcausal.OLTRHead', num_classes=6, in_channels=8, places=4)))
    HeadDirectionHook(0.9).before_train(SimpleNamespace(model=model, optim_wrapper=None))
