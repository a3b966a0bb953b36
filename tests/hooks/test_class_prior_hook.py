"""Class counts of the data for losses and classifiers."""
from types import SimpleNamespace

import pytest
import torch
from helpers.class_counts import COUNTS, built
from helpers.runners import baseline_cfg
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Subset

from mmcausal.datasets import LongTailedDigits
from mmcausal.datasets.long_tail import long_tailed_counts
from mmcausal.hooks import ClassPriorHook
from mmcausal.models import EqualizationLoss, LogitAdjustedLinear, LogitAdjustedLoss
from mmcausal.registry import MODELS

BOX_COUNTS = [500, 5, 50, 3]  # with tail_below=10, classes 1 and 3 are the tail


def runner_with(model, split, **metainfo):
    dataset = SimpleNamespace(metainfo=metainfo)
    return SimpleNamespace(model=model, hooks=[], **{f'{split}_dataloader': SimpleNamespace(dataset=dataset)})


def test_hook_passes_the_training_counts():
    loss, hook = MODELS.build(dict(type='mmcausal.BalancedSoftmaxLoss')), ClassPriorHook()
    hook.before_train(runner_with(nn.Sequential(loss), 'train', class_counts=COUNTS))
    torch.testing.assert_close(loss.constants.exp(), torch.tensor(COUNTS) / 625.)
    with pytest.raises(ValueError, match=r"needs metainfo\['class_counts'\]"):
        hook.before_train(runner_with(nn.Sequential(loss), 'train'))
    with pytest.raises(ValueError, match='no module with set_class_counts'):
        hook.before_train(runner_with(nn.Linear(1, 1), 'train', class_counts=COUNTS))


def test_testing_gives_counts_only_to_a_classifier_without():
    loss, layer, hook = built('BalancedSoftmaxLoss'), LogitAdjustedLinear(2, 4), ClassPriorHook()
    before = loss.constants
    model = nn.Sequential(loss, layer)
    hook.before_test(runner_with(model, 'test', class_counts=COUNTS))
    assert loss.constants is before and layer.log_prior.exp().tolist() == pytest.approx([n / 625 for n in COUNTS])
    hook.before_test(runner_with(model, 'test'))  # it has them now
    with pytest.raises(ValueError, match=r"needs metainfo\['class_counts'\]"):
        hook.before_test(runner_with(LogitAdjustedLinear(2, 4), 'test'))


def test_hook_passes_the_counts_of_the_data():
    def runner(model, **metainfo):
        dataset = SimpleNamespace(metainfo=metainfo)
        return SimpleNamespace(model=model, hooks=[], train_dataloader=SimpleNamespace(dataset=dataset))

    loss = EqualizationLoss(tail_below=10)
    ClassPriorHook().before_train(runner(nn.Sequential(loss), class_counts=BOX_COUNTS))
    assert loss.is_tail.tolist() == [False, True, False, True, False]
    with pytest.raises(ValueError, match=r"needs metainfo\['class_counts'\]"):
        ClassPriorHook().before_train(runner(nn.Sequential(loss)))
    with pytest.raises(ValueError, match='no module with set_class_counts'):
        ClassPriorHook().before_train(runner(nn.Linear(1, 1), class_counts=BOX_COUNTS))


def balanced_cfg(work_dir, dataset):
    """Return the config of one epoch of the de-confounded classifier with a balanced softmax, on a dataset."""
    digits = dict(type='mmcausal.LongTailedDigits', pipeline=[dict(type='PackInputs')])
    return baseline_cfg(work_dir, 1, **{
        'train_dataloader.dataset': dict(dataset(digits), _delete_=True),
        'model.head.type': 'mmcausal.DeconfoundHead',
        'model.head.loss': dict(type='mmcausal.BalancedSoftmaxLoss'),
        'custom_hooks': [dict(type='mmcausal.ClassPriorHook'), dict(type='mmcausal.HeadDirectionHook')]})


@pytest.mark.parametrize('scope, ignored', [('mmengine', None), ('mmengine', ['class_counts']), ('mmdet', None),
                                            ('mmdet', 'class_counts')])
def test_training_on_members_with_other_counts_uses_their_sum(tmp_path, scope, ignored):
    cfg = balanced_cfg(tmp_path, lambda digits: dict(
        type=f'{scope}.ConcatDataset', datasets=[digits, dict(digits, imbalance_ratio=10, seed=1)],
        ignore_keys=ignored))
    runner = Runner.from_cfg(cfg)
    runner.train()
    total = [one + other for one, other in zip(long_tailed_counts(100, 10, 100), long_tailed_counts(100, 10, 10))]
    prior = runner.model.head.loss_module.constants.exp()
    assert prior.tolist() == pytest.approx([count / sum(total) for count in total])
    assert runner.model.head.fc.mean_feature.any()


@pytest.mark.parametrize('loss', [
    dict(type='mmcausal.BalancedSoftmaxLoss'), dict(type='mmcausal.EqualizationLoss'),
    dict(type='mmcausal.ClassBalancedLoss', loss=dict(type='mmcausal.LDAMLoss'))], ids=lambda loss: loss['type'])
def test_copies_of_the_model_for_an_average_get_the_counts(loss):
    """EMAHook averages a copy from before the training, and its buffers with those of the model."""
    model = nn.Sequential(nn.Linear(2, 2), MODELS.build(loss))
    runner, average = runner_with(model, 'train', class_counts=[7, 2]), EMAHook()
    average.ema_model = ExponentialMovingAverage(model, momentum=0.5)
    runner.hooks = [average]
    ClassPriorHook().before_train(runner)
    for _ in range(2):
        average.ema_model.update_parameters(model)
    copies = dict(average.ema_model.module.named_buffers())
    assert copies and all(torch.equal(copies[name], buffer) for name, buffer in model.named_buffers())


def test_training_with_a_class_prior_and_an_average_of_the_weights(tmp_path):
    cfg = balanced_cfg(tmp_path, lambda digits: digits)
    cfg.custom_hooks += [dict(type='EMAHook', momentum=0.1)]
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert len(runner.model.head.loss_module.constants) == 10 and runner.model.head.fc.mean_feature.any()


def test_repeats_inside_a_concatenation_count_for_draws_alone():
    init_default_scope('mmpretrain')
    digits = dict(type='mmcausal.LongTailedDigits')
    losses = EqualizationLoss(tail_below=5), built('BalancedSoftmaxLoss')
    runner = runner_with(nn.Sequential(*losses), 'train')
    runner.train_dataloader.dataset = ConcatDataset([dict(type='RepeatDataset', dataset=digits, times=10), digits])
    ClassPriorHook().before_train(runner)
    counts = torch.tensor(long_tailed_counts(100, 10, 100))
    assert losses[0].is_tail.tolist() == [*(2 * counts < 5).tolist(), False]
    torch.testing.assert_close(losses[1].constants.exp(), counts / counts.sum())


def test_class_without_a_training_image_is_named(tmp_path):
    cfg = balanced_cfg(tmp_path, lambda digits: dict(digits, indices=200, metainfo=dict(classes=list('abcdefghij'))))
    words = 'cannot use the class counts of this LongTailedDigits: .* Without a training image: e, f, g, h, i, j$'
    with pytest.raises(ValueError, match=words):
        Runner.from_cfg(cfg).train()


class LabelsInPipeline(BaseDataset):
    """Labels appear when an image is loaded, so they cannot be counted."""
    METAINFO = dict(classes=('cat', 'dog'))

    def load_data_list(self):
        return [dict(img_path='a.jpg')]


@pytest.mark.parametrize('metainfo', [dict(class_counts=[7, 2]), {}])
def test_counts_in_metainfo_serve_where_nothing_can_be_counted(metainfo):
    loss = MODELS.build(dict(type='mmcausal.BalancedSoftmaxLoss'))
    runner = runner_with(nn.Sequential(loss), 'train')
    runner.train_dataloader.dataset = LabelsInPipeline(ann_file='', metainfo=metainfo)
    if metainfo:
        ClassPriorHook().before_train(runner)
        assert loss.constants.exp().tolist() == pytest.approx([7 / 9, 2 / 9])
    else:
        with pytest.raises(ValueError, match=r"needs metainfo\['class_counts'\]"):
            ClassPriorHook().before_train(runner)


def test_subsets_of_pytorch_are_counted():
    loss = MODELS.build(dict(type='mmcausal.BalancedSoftmaxLoss'))
    runner = runner_with(nn.Sequential(loss), 'train')
    digits = LongTailedDigits(imbalance_ratio=10)
    runner.train_dataloader.dataset = Subset(digits, range(0, len(digits), 2))
    ClassPriorHook().before_train(runner)
    labels = digits.get_gt_labels()[::2]
    assert loss.constants.exp().tolist() == pytest.approx([(labels == label).mean() for label in range(10)])


def test_a_validation_of_its_own_gives_counts_too():
    layer, hook = LogitAdjustedLinear(2, 4), ClassPriorHook()
    hook.before_val(runner_with(nn.Sequential(layer), 'val', class_counts=COUNTS))
    assert layer.log_prior.exp().tolist() == pytest.approx([n / 625 for n in COUNTS])


def test_a_loss_that_a_recipe_brings_in_later_gets_counts(tmp_path):
    cfg = baseline_cfg(tmp_path, epochs=2, custom_hooks=[
        dict(type='mmcausal.ClassPriorHook'),
        dict(type='mmpretrain.SwitchRecipeHook', schedule=[
            dict(action_epoch=2, loss=dict(type='mmcausal.BalancedSoftmaxLoss'))])])
    runner = Runner.from_cfg(cfg)
    runner.train()
    loss, counts = runner.model.head.loss_module, runner.train_dataloader.dataset.metainfo['class_counts']
    assert type(loss) is LogitAdjustedLoss
    torch.testing.assert_close(loss.constants.exp(), torch.tensor(counts) / sum(counts))
