"""Softmax focal loss, against its formula and in detectors."""
import math

import pytest
import torch
from helpers.detectors import losses, scores_of, small_detector
from torch.nn import functional as F

from mmcausal.models import SoftmaxFocalLoss


def test_softmax_focal_loss_equals_its_formula():
    logits, labels, weight = torch.randn(6, 4), torch.tensor([0, 3, 1, 2, 3, 0]), torch.tensor([1., 1, 0, 2, 1, 1])
    expected = 0.
    for row, label, w in zip(logits.tolist(), labels.tolist(), weight.tolist()):
        p = math.exp(row[label]) / sum(map(math.exp, row))
        expected -= w * (1 - p)**1.5 * math.log(p) / 5
    loss = SoftmaxFocalLoss(gamma=1.5, loss_weight=3.)(logits, labels, weight, avg_factor=5)
    assert loss.item() == pytest.approx(3 * expected, rel=1e-5)
    plain = SoftmaxFocalLoss(gamma=0.)(logits, labels, weight, avg_factor=6)
    torch.testing.assert_close(plain, (weight * F.cross_entropy(logits, labels, reduction='none')).mean())
    with pytest.raises(ValueError, match='gamma must be a number'):
        SoftmaxFocalLoss(gamma=-1)


@pytest.mark.parametrize('gamma', [0., 0.01, 0.5, 1., 2., 5.])
@pytest.mark.parametrize('margin', [0., 5., 15., 17.5, 20., 160.])
def test_gradient_of_a_certain_sample(gamma, margin):
    """Against the derivative by the logit, (1 - p)^gamma (gamma p log(p) - (1 - p)), in double precision."""
    logits = torch.tensor([[margin, 0.]], requires_grad=True)
    SoftmaxFocalLoss(gamma)(logits, torch.tensor([0])).backward()
    rest = 1 / (1 + math.exp(margin))
    p = 1 - rest
    expected = rest**gamma * (gamma * p * math.log1p(-rest) - rest)
    assert logits.grad[0, 0].item() == pytest.approx(expected, rel=1e-3, abs=2e-7)


@pytest.mark.parametrize('name', ['cascade_focal_r101', 'cascade_deconfound_r101'])
def test_softmax_focal_loss_in_a_detector(name):
    detector = small_detector(name, bbox_head=dict(loss_cls=dict(type='mmcausal.SoftmaxFocalLoss')))
    total, _ = losses(detector)
    total.backward()
    assert total.isfinite()
    torch.testing.assert_close(scores_of(detector)[1].sum(1), torch.ones(5))


def test_detached_modulator_is_a_constant_for_the_gradient():
    """As in the authors' code for ImageNet-LT: the gradient is (1 - p_y)^gamma times that of cross-entropy."""
    logits, labels = torch.randn(6, 4, requires_grad=True), torch.tensor([0, 3, 1, 2, 3, 0])
    plain, detached = (SoftmaxFocalLoss(detach_modulator=detach, reduction='none') for detach in (False, True))
    torch.testing.assert_close(plain(logits, labels), detached(logits, labels))
    gradient, = torch.autograd.grad(detached(logits, labels).sum(), logits)
    probs = logits.detach().softmax(-1)
    own = F.one_hot(labels, 4)
    expected = (1 - (probs * own).sum(-1, keepdim=True))**2 * (probs - own)
    torch.testing.assert_close(gradient, expected)
    assert not torch.allclose(gradient, torch.autograd.grad(plain(logits, labels).sum(), logits)[0])
