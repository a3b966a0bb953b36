"""Softmax equalization loss against loops over its definition."""
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmcausal.hooks import ClassPriorHook
from mmcausal.models import EqualizationLoss

COUNTS = [500, 5, 50, 3]  # with tail_below=10, classes 1 and 3 are the tail


def built(**kwargs):
    loss = EqualizationLoss(tail_below=10, **kwargs)
    loss.set_class_counts(COUNTS)
    return loss


def oracle(logits, label, tail):
    """Of one proposal: its logits, its label (4 is the background), and the classes of the tail."""
    total = 0.
    for k, z in enumerate(logits):
        ignored = label != 4 and k in tail and k != label
        total += 0. if ignored else math.exp(z)
    return -math.log(math.exp(logits[label]) / total)


def test_loss_equals_the_loops():
    logits, labels = torch.randn(5, 5), torch.tensor([0, 1, 2, 3, 4])
    weight = torch.tensor([1., 2., 0., 1., 1.])
    expected = [oracle(z, y, {1, 3}) for z, y in zip(logits.tolist(), labels.tolist())]
    torch.testing.assert_close(built()(logits, labels, reduction_override='none'), torch.tensor(expected))
    total = sum(w * e for w, e in zip(weight.tolist(), expected))
    value = built(loss_weight=3.)(logits, labels, weight, avg_factor=4.)
    torch.testing.assert_close(value, torch.tensor(3 * total / 4))


def test_tail_gets_no_gradient_from_other_foreground():
    logits = torch.randn(3, 5, requires_grad=True)
    built()(logits, torch.tensor([0, 1, 4])).backward()
    gradient = logits.grad
    assert gradient[0, [1, 3]].eq(0).all() and gradient[0, [0, 2, 4]].ne(0).all()
    assert gradient[1, 3] == 0 and gradient[1, 1] != 0  # a tail class learns from its own samples
    assert gradient[2].ne(0).all()  # and from the background


def test_special_cases_are_cross_entropy():
    logits, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
    plain = F.cross_entropy(logits, labels)
    torch.testing.assert_close(built(ignore_prob=0.)(logits, labels), plain)
    without_tail = EqualizationLoss(tail_below=0)
    without_tail.set_class_counts(COUNTS)
    torch.testing.assert_close(without_tail(logits, labels), plain)
    assert built()(torch.randn(0, 5), torch.zeros(0, dtype=torch.long), avg_factor=1.) == 0


@pytest.mark.parametrize('change, words', [(dict(ignore_prob=1.5), 'ignore_prob must be a number in'),
                                           (dict(tail_below=-1), 'tail_below must be')])
def test_bad_arguments(change, words):
    with pytest.raises(ValueError, match=words):
        EqualizationLoss(**change)


def test_counts_must_be_known_and_fit():
    logits, labels = torch.randn(2, 5), torch.tensor([0, 4])
    with pytest.raises(RuntimeError, match='ClassPriorHook'):
        EqualizationLoss()(logits, labels)
    with pytest.raises(ValueError, match='counts of 4 classes, but got logits of 6'):
        built()(torch.randn(2, 7), labels)


def test_hook_passes_the_counts_of_the_data():
    def runner(model, **metainfo):
        dataset = SimpleNamespace(metainfo=metainfo)
        return SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))

    loss = EqualizationLoss(tail_below=10)
    ClassPriorHook().before_train(runner(nn.Sequential(loss), class_counts=COUNTS))
    assert loss.is_tail.tolist() == [False, True, False, True, False]
    with pytest.raises(ValueError, match=r"needs metainfo\['class_counts'\]"):
        ClassPriorHook().before_train(runner(nn.Sequential(loss)))
    with pytest.raises(ValueError, match='no module with set_class_counts'):
        ClassPriorHook().before_train(runner(nn.Linear(1, 1), class_counts=COUNTS))
