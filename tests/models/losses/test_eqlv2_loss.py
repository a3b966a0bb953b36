"""Equalization loss v2 of MMDetection, in a detector."""
import pytest
import torch
from helpers.detectors import heads_of, inputs, losses, scores_of, small_detector


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
