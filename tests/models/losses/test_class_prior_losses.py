"""Losses on class counts, against loops over their definitions and their special cases."""
import math

import pytest
import torch
from helpers.class_counts import COUNTS, built, random_batch
from torch.nn import functional as F

from mmcausal import class_prior
from mmcausal.registry import MODELS

SOFTMAX, FOCAL = dict(type='mmpretrain.CrossEntropyLoss'), dict(type='mmpretrain.FocalLoss')


@pytest.fixture
def batch():
    return random_batch()


@pytest.mark.parametrize('tau', [0., 0.5, 1.])
def test_logit_adjusted_loss(batch, tau):
    value = built('LogitAdjustedLoss', tau=tau)(*batch)
    total = 0.
    for logits, label in zip(batch[0].tolist(), batch[1].tolist()):
        scores = [math.exp(z) * (n / sum(COUNTS))**tau for z, n in zip(logits, COUNTS)]
        total -= math.log(scores[label] / sum(scores))
    assert value.item() == pytest.approx(total / 7, rel=1e-5)
    if tau == 0:
        torch.testing.assert_close(value, F.cross_entropy(*batch))


def test_balanced_softmax_with_a_uniform_prior_is_softmax(batch):
    torch.testing.assert_close(built('BalancedSoftmaxLoss', [9] * 4)(*batch), F.cross_entropy(*batch))


def test_ldam(batch):
    torch.testing.assert_close(built('LDAMLoss', max_margin=0.)(*batch), F.cross_entropy(*batch))
    lowered = batch[0].clone()
    for row, label in enumerate(batch[1].tolist()):
        lowered[row, label] -= 30 * 0.5 * (5 / COUNTS[label])**0.25
    torch.testing.assert_close(built('LDAMLoss')(*batch), F.cross_entropy(lowered, batch[1]))


def test_label_aware_smoothing(batch):
    torch.testing.assert_close(built('LabelAwareSmoothingLoss', head=0., tail=0.)(*batch), F.cross_entropy(*batch))
    epsilon = [0.1 + 0.3 * math.sin(math.pi / 2 * (n - 5) / 495) for n in COUNTS]
    total = 0.
    for log_probs, label in zip(batch[0].log_softmax(-1).tolist(), batch[1].tolist()):
        for i, log_prob in enumerate(log_probs):
            total -= ((1 - epsilon[label]) * (i == label) + epsilon[label] / 4) * log_prob
    assert built('LabelAwareSmoothingLoss')(*batch).item() == pytest.approx(total / 7, rel=1e-5)
    # its smallest value is where the prediction is the smoothed target
    label = torch.tensor([0])
    target = torch.tensor([[1 - epsilon[0] * 3 / 4] + [epsilon[0] / 4] * 3]).log().requires_grad_()
    built('LabelAwareSmoothingLoss')(target, label).backward()
    assert target.grad.abs().max() < 1e-6


@pytest.mark.parametrize('inner', [SOFTMAX, FOCAL])
def test_class_balanced(batch, inner):
    plain = MODELS.build(inner)
    # LinearClsHead passes the number of images as avg_factor
    torch.testing.assert_close(built('ClassBalancedLoss', loss=inner, beta=0.)(*batch, avg_factor=7),
                               plain(*batch, avg_factor=7))
    weights = class_prior.effective_number_weights(COUNTS, 0.99).tolist()
    parts = [weights[y] * plain(z[None], y[None], avg_factor=1).item() for z, y in zip(*batch)]
    value = built('ClassBalancedLoss', loss=inner, beta=0.99)(*batch, avg_factor=7)
    assert value.item() == pytest.approx(sum(parts) / 7, rel=1e-5)
    if inner is SOFTMAX:
        per_image = F.cross_entropy(*batch, weight=torch.tensor(weights), reduction='none')
        torch.testing.assert_close(value, per_image.mean())
        deferred = built('DeferredReweightingLoss', loss=inner, beta=0.99)(*batch, avg_factor=7)
        torch.testing.assert_close(deferred, F.cross_entropy(*batch, weight=torch.tensor(weights)))


@pytest.mark.parametrize('name, change, words', [
    ('LogitAdjustedLoss', dict(tau=-1), r'tau must be a number in \[0, inf\)'),
    ('LDAMLoss', dict(max_margin=-0.1), 'max_margin must be'),
    ('LDAMLoss', dict(scale=float('nan')), 'scale must be'),
    ('ClassBalancedLoss', dict(loss=SOFTMAX, beta=1.), r'beta must be a number in \[0, 1\)'),
    ('LabelAwareSmoothingLoss', dict(head=0.1, tail=0.4), 'tail must not be smoothed more'),
    ('LabelAwareSmoothingLoss', dict(head=1.), 'head must be'),
])
def test_bad_arguments(name, change, words):
    with pytest.raises(ValueError, match=words):
        MODELS.build(dict(type=f'mmcausal.{name}', **change))


def test_counts_must_be_known_whole_and_fit(batch):
    with pytest.raises(RuntimeError, match='ClassPriorHook'):
        MODELS.build(dict(type='mmcausal.LDAMLoss'))(*batch)
    with pytest.raises(ValueError, match='counts of 3 classes, but got logits of 4'):
        built('LDAMLoss', [3, 2, 1])(*batch)
    with pytest.raises(ValueError, match=r'1 of 4 classes have none, e.g. class 2 with count 0'):
        built('LDAMLoss', [3, 2, 0, 1])
    with pytest.raises(ValueError, match='one label for each image'):
        built('LDAMLoss')(batch[0], batch[0].softmax(-1))
    with pytest.raises(ValueError, match='for each of 5 classes'):
        class_prior.check_class_counts(COUNTS, 5)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.bool, torch.int32, torch.float32], ids=str)
def test_labels_are_whole_numbers_and_no_mask(dtype):
    """With as many images as classes, PyTorch would take uint8 labels for a mask of the class weights."""
    for name, inner in (('ClassBalancedLoss', dict(loss=SOFTMAX)), ('LDAMLoss', {}), ('LabelAwareSmoothingLoss', {})):
        with pytest.raises(ValueError, match=f'{name} needs labels of type torch.int64, but got {dtype}'):
            built(name, **inner)(torch.randn(4, 4), torch.tensor([1, 0, 1, 1]).to(dtype))


def test_a_sum_cannot_be_divided_by_the_weights():
    with pytest.raises(ValueError, match="DeferredReweightingLoss needs a loss with reduction='mean'"):
        built('DeferredReweightingLoss', loss=dict(SOFTMAX, reduction='sum'))
