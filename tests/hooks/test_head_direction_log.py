"""What the hook does to layers and writes to the log, with a stand-in for the Runner."""
from types import SimpleNamespace

import pytest
import torch
from helpers.layers import trained_layer
from mmengine.config import Config
from mmengine.hooks.hook import Hook
from mmengine.model import BaseTTAModel
from mmengine.optim import OptimWrapper
from torch.utils.data import DataLoader

from mmcausal.hooks import HeadDirectionHook
from mmcausal.hooks.checkpoint_check_hook import CheckpointCheckHook
from mmcausal.models import DeconfoundLinear, DetectionDeconfoundLinear, NCMLinear


class Logger(list):
    """Remember messages with their level."""

    def info(self, message):
        self.append(('info', message))

    def warning(self, message):
        self.append(('warning', message))


def runner_of(*layers, iteration=0, momentum=0.9, **arguments):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=momentum)
    return SimpleNamespace(model=torch.nn.ModuleList(layers), optim_wrapper=OptimWrapper(optimizer), logger=Logger(),
                           iter=iteration, hooks=[], **arguments)


def test_arguments_and_place_among_the_hooks():
    hook = HeadDirectionHook()
    assert hook.momentum == 'auto' and hook.keep_direction is False and hook.priority == 'ABOVE_NORMAL'
    assert HeadDirectionHook(0).momentum == 0 and HeadDirectionHook(0.9998, True).keep_direction
    hook.after_train_iter(runner_of(), 0)  # without a training there are no layers


@pytest.mark.parametrize('cosine', [-0.25, 0., 0.4, 1.])
def test_the_auto_alpha_of_each_layer_is_logged_if_its_cosine_is_positive(cosine):
    layers, hook = [trained_layer(), trained_layer()], HeadDirectionHook()
    runner = runner_of(*layers, iteration=3)
    hook.before_train(runner)
    layers[0].mean_cosine.fill_(cosine)
    layers[1].mean_cosine.fill_(0.5)
    hook.after_train(runner)
    first = (f'Mean cosine of features and head direction {cosine:.3f}: '
             f"alpha='auto' is {1 / (cosine or 1):.3f} (alpha * mean cosine = 1)")
    second = "Mean cosine of features and head direction 0.500: alpha='auto' is 2.000 (alpha * mean cosine = 1)"
    assert runner.logger == [('info', first)] * (cosine > 0) + [('info', second)]
    assert hook.layers == []


def test_a_direction_without_update_and_batches_left_out_are_logged():
    layer, hook = DetectionDeconfoundLinear(8, 6), HeadDirectionHook()
    runner = runner_of(layer)
    hook.before_train(runner)
    layer.observe(torch.full((2, 8), torch.nan))
    hook.after_train_iter(runner, 0)
    for _ in range(2):
        hook.after_train_epoch(runner)
    hook.after_train(runner)
    assert runner.logger == [
        ('warning', layer.skipped_batches()),
        ('warning', f'The head direction was never updated: {layer.without_samples}'),
        ('warning', f'In this training, {layer.skipped_batches()}')]


@pytest.mark.parametrize('keep, iteration, updates', [(False, 0, 0), (True, 0, 3), (False, 1, 3), (True, 1, 3)])
def test_only_a_new_training_resets_the_direction(keep, iteration, updates):
    layer = trained_layer()
    HeadDirectionHook(keep_direction=keep).before_train(runner_of(layer, iteration=iteration))
    assert layer.num_updates == updates and layer.is_scheduled


def test_auto_momentum_follows_the_optimiser():
    layer, hook = DeconfoundLinear(8, 6), HeadDirectionHook()
    runner = runner_of(layer, momentum=0.9)
    hook.before_train(runner)
    expected = torch.zeros(8)
    for momentum in (0.9, 0.5):
        runner.optim_wrapper.param_groups[0]['momentum'] = momentum
        layer(torch.ones(2, 8))
        hook.after_train_iter(runner, 0)
        expected = momentum * expected + (1 - momentum)
    torch.testing.assert_close(layer.mean_feature, expected)
    runner.optim_wrapper.param_groups[0]['betas'] = (0.25, 0.5)
    assert hook._momentum(runner) == 0.25 and HeadDirectionHook(0.75)._momentum(runner) == 0.75


def test_a_validation_without_a_direction_is_by_the_total_effect(monkeypatch):
    monkeypatch.setattr('mmcausal.hooks.checkpoint_check_hook.CheckpointCheckHook.before_val', Hook.before_val)
    layers = [DeconfoundLinear(8, 6, alpha=1.5), trained_layer(alpha=0.5), DeconfoundLinear(8, 6)]
    hook, runner = HeadDirectionHook(), runner_of(*layers, iteration=1)
    hook.before_train(runner)
    for _ in range(2):
        hook.before_val(runner)
        assert [layer.alpha for layer in layers] == [0., 0.5, 0.]
        hook.after_val(runner)
        assert [layer.alpha for layer in layers] == [1.5, 0.5, 0.]
    told, again = runner.logger
    assert told == again and told[0] == 'warning' and 'by the total effect (alpha = 0)' in told[1]
    layers[0](torch.ones(2, 8))
    layers[0].update_direction(0.9)
    hook.before_val(runner)
    assert layers[0].alpha == 1.5 and len(runner.logger) == 2


@pytest.mark.parametrize('tde, total, warns', [(3., 4., True), (4., 4., False), (5., 4., False)])
def test_the_warning_is_for_a_worse_tde_alone(tmp_path, tde, total, warns):
    first, second = DeconfoundLinear(8, 6), DeconfoundLinear(8, 6, alpha=2.)
    runner = runner_of(first, second, work_dir=tmp_path, cfg=Config())
    metrics = {'accuracy/top1': 1., 'shot/overall': tde, 'shot/total_effect_overall': total, 'shot/many': 0.}
    HeadDirectionHook().after_val_epoch(runner, metrics)
    assert len(runner.logger) == warns
    if warns:
        (level, message), = runner.logger
        assert level == 'warning' and message.startswith('TDE with alpha=2.0 is worse here than the total effect '
                                                         '(alpha=0): 3.00 % against 4.00 %.')
        assert message.endswith('--classifier 1')


def test_recording_starts_with_an_evaluation_and_ends_with_it(tmp_path):
    layer, hook = trained_layer(alpha=1.), HeadDirectionHook()
    for before, after in ((hook.before_val_epoch, hook.after_val_epoch),
                          (hook.before_test_epoch, hook.after_test_epoch)):
        before(runner_of(layer))
        before(runner_of(layer))  # the last one was interrupted
        assert len(layer._forward_hooks) == 1
        after(runner_of(layer))
        assert not layer._forward_hooks

    class Wrapper(BaseTTAModel):
        def merge_preds(self, data_samples_list):
            return data_samples_list

    inner = torch.nn.ModuleList([layer])
    inner.test_step = inner.forward
    hook.before_test_epoch(SimpleNamespace(model=Wrapper(inner)))
    assert not layer._forward_hooks and hook._recorder is None


def test_classes_of_classifiers_and_class_means_are_those_of_the_data():
    data = SimpleNamespace(metainfo=dict(classes=tuple('abcdef')))
    for layer, fits in ((DeconfoundLinear(8, 6), True), (DeconfoundLinear(8, 5), False), (NCMLinear(8, 7), False),
                        (DetectionDeconfoundLinear(8, 7), True)):
        runner = runner_of(layer, train_dataloader=SimpleNamespace(dataset=data))
        if fits:
            HeadDirectionHook().before_train(runner)
        else:
            with pytest.raises(ValueError, match=rf'the classifier has {layer.out_features} classes, and .* data 6'):
                HeadDirectionHook().before_train(runner)
    loader = DataLoader(torch.utils.data.TensorDataset(torch.zeros(2, 1)))  # data without classes
    HeadDirectionHook().before_train(runner_of(DeconfoundLinear(8, 5), train_dataloader=loader))


def test_batches_left_out_are_told_before_a_validation(monkeypatch):
    """A loop by iterations has one epoch, which ends with the training."""
    layer, hook = trained_layer(), HeadDirectionHook()
    runner = runner_of(layer, iteration=3)
    hook.before_train(runner)
    monkeypatch.setattr(CheckpointCheckHook, 'before_val', lambda self, runner: None)
    layer.num_skipped.fill_(2)
    hook.before_val(runner)
    assert runner.logger == [('warning', layer.skipped_batches())]


def test_checks_of_the_checkpoint_run_too(monkeypatch):
    called = []
    for name in ('before_train', 'before_val'):
        monkeypatch.setattr(CheckpointCheckHook, name, lambda self, runner, name=name: called.append(name))
    hook, runner = HeadDirectionHook(), runner_of(trained_layer(), iteration=3)
    hook.before_train(runner)
    hook.before_val(runner)
    assert called == ['before_train', 'before_val']
    with pytest.raises(ValueError, match='^keep_direction must be'):
        HeadDirectionHook(keep_direction=1)


@pytest.mark.parametrize('metric', ['bbox_mAP', 'bbox_AP'])
def test_the_warning_for_a_detector_names_its_command(tmp_path, metric):
    layer, hook = DetectionDeconfoundLinear(8, 6, alpha=1.5), HeadDirectionHook()
    runner = runner_of(layer, work_dir=tmp_path, cfg=Config())
    hook.after_val_epoch(runner, {f'coco/{metric}': 0.25, f'coco/total_effect_{metric}': 0.5})
    (level, text), = runner.logger
    assert level == 'warning' and 'AP 0.2500 against 0.5000' in text and 'sweep_detector_alpha' in text


def test_a_validation_records_both_effects_of_a_detector(monkeypatch):
    """Not those of a classifier, nor of a model that holds a detector and has no RoI head of its own."""
    recorded = []
    monkeypatch.setattr('mmcausal.models.roi_heads.total_effect.DetectionTotalEffectRecorder', recorded.append)
    for layer, is_detector in ((trained_layer(), True), (DetectionDeconfoundLinear(8, 6), True),
                               (DetectionDeconfoundLinear(8, 6), False)):
        runner = runner_of(layer)
        if is_detector:
            runner.model.add_module('roi_head', torch.nn.Identity())
        HeadDirectionHook().before_val_epoch(runner)
        assert recorded.count(runner.model) == (is_detector and isinstance(layer, DetectionDeconfoundLinear))
    assert len(recorded) == 1


def test_a_teacher_must_get_the_direction_too():
    """MMDetection's MeanTeacherHook moves parameters alone by default, and the direction is a buffer."""
    runner = runner_of(trained_layer(), iteration=3)
    runner.hooks = [SimpleNamespace(skip_buffers=True)]
    with pytest.raises(ValueError, match='MeanTeacherHook must have skip_buffer=False'):
        HeadDirectionHook().before_train(runner)
    runner.hooks = [SimpleNamespace(skip_buffers=False)]
    HeadDirectionHook().before_train(runner)


def test_branches_of_other_lengths_need_heads_of_their_own():
    """BBN scales the halves of the features by the shares of its branches, which each head's unit length undoes."""
    for num_heads, fits in ((1, False), (2, True), (3, False), (4, True)):
        layer = DeconfoundLinear(12, 3, num_heads=num_heads)
        runner = runner_of(layer, iteration=3)
        runner.model.conventional_share = 1.
        if fits:
            HeadDirectionHook().before_train(runner)
        else:
            with pytest.raises(ValueError, match='BBNClassifier needs a classifier with an even num_heads'):
                HeadDirectionHook().before_train(runner)


def test_a_first_beta_of_zero_is_a_momentum():
    runner = runner_of(trained_layer())
    runner.optim_wrapper = OptimWrapper(torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], betas=(0., .99)))
    assert HeadDirectionHook()._momentum(runner) == 0
