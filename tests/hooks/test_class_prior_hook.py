"""Class counts of the data for losses and classifiers."""
from types import SimpleNamespace

import pytest
import torch
from helpers.class_counts import COUNTS, built
from torch import nn

from mmcausal.hooks import ClassPriorHook
from mmcausal.models import EqualizationLoss, LogitAdjustedLinear
from mmcausal.registry import MODELS

BOX_COUNTS = [500, 5, 50, 3]  # with tail_below=10, classes 1 and 3 are the tail


def runner_with(model, split, **metainfo):
    dataset = SimpleNamespace(metainfo=metainfo)
    return SimpleNamespace(model=model, **{f'{split}_dataloader': SimpleNamespace(dataset=dataset)})


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
        return SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))

    loss = EqualizationLoss(tail_below=10)
    ClassPriorHook().before_train(runner(nn.Sequential(loss), class_counts=BOX_COUNTS))
    assert loss.is_tail.tolist() == [False, True, False, True, False]
    with pytest.raises(ValueError, match=r"needs metainfo\['class_counts'\]"):
        ClassPriorHook().before_train(runner(nn.Sequential(loss)))
    with pytest.raises(ValueError, match='no module with set_class_counts'):
        ClassPriorHook().before_train(runner(nn.Linear(1, 1), class_counts=BOX_COUNTS))
