import math

import pytest
import torch
from detectors import heads_of, inputs, losses, small_detector
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
    certain = torch.tensor([[80., -80.]], requires_grad=True)
    SoftmaxFocalLoss()(certain, torch.tensor([0])).backward()
    assert certain.grad.isfinite().all()
    with pytest.raises(ValueError, match='gamma must be a number'):
        SoftmaxFocalLoss(gamma=-1)


@torch.no_grad()
def scores_of(detector):
    """Class scores (N, C + 1) that the first box head gives to random features."""
    head = heads_of(detector)[0].eval()
    cls_score = head(torch.randn(5, 16, 7, 7))[0]
    scores = head.loss_cls.get_activation(cls_score) if head.custom_activation else cls_score.softmax(-1)
    return cls_score, scores


def test_eqlv2_trains_and_infers_by_its_sigmoids():
    detector = small_detector('cascade_eqlv2_r101')
    total, log = losses(detector)
    total.backward()
    assert total.isfinite() and 's0.acc_classes' in log
    assert all(head.custom_activation and (head.fc_cls.bias == -6.5).all() for head in heads_of(detector))
    cls_score, scores = scores_of(detector)
    probs = cls_score.sigmoid()
    torch.testing.assert_close(scores[:, :-1], probs[:, :-1] * (1 - probs[:, -1:]))  # the last is the background's
    with torch.no_grad():
        assert len(detector.eval()(**inputs(detector, training=False), mode='predict')) == 2
    with pytest.raises(ValueError, match='use_sigmoid=True'):
        small_detector('cascade_tde_r101', bbox_head=dict(loss_cls=dict(type='mmcausal.EQLV2Loss', num_classes=6)))


@pytest.mark.parametrize('name', ['cascade_focal_r101', 'cascade_deconfound_r101'])
def test_softmax_focal_loss_in_a_detector(name):
    detector = small_detector(name, bbox_head=dict(loss_cls=dict(type='mmcausal.SoftmaxFocalLoss')))
    total, _ = losses(detector)
    total.backward()
    assert total.isfinite()
    torch.testing.assert_close(scores_of(detector)[1].sum(1), torch.ones(5))
