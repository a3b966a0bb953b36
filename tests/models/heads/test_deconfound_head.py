"""The de-confounded head: arguments, initialisation, losses."""
import math

import pytest
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import init_default_scope

from mmcausal.registry import MODELS

HEAD = dict(type='mmcausal.DeconfoundHead', num_classes=6, in_channels=8)


@pytest.mark.parametrize('change, words', [
    (dict(num_heads=3), 'do not split into 3'),
    (dict(tau=-1.), 'tau must be'),
    (dict(gamma=-1.), 'gamma must be'),
    (dict(normalizer='x'), 'normalizer must be'),
    (dict(alpha='best'), "alpha must be a non-negative number or 'auto', but got 'best'"),
    (dict(alpha=None), 'alpha must be'),
    (dict(alpha=-1.), 'alpha must be'),
])
def test_bad_arguments_stop_the_build(change, words):
    with pytest.raises(ValueError, match=words):
        MODELS.build(dict(HEAD, **change))


def test_head_initialises_itself_and_builds_from_any_registry():
    init_default_scope('mmpretrain')
    head = ROOT_MODELS.build(dict(HEAD, init_cfg=dict(type='Normal', layer='Linear', std=100.)))
    head.init_weights()
    assert head.fc.weight.abs().max() <= 1 / math.sqrt(8)
    assert head.fc.bias is None


@pytest.mark.parametrize('loss', [dict(type='CrossEntropyLoss', use_sigmoid=True), dict(type='FocalLoss')])
@pytest.mark.parametrize('head', [HEAD, dict(HEAD, type='mmcausal.ClassifierHead',
                                             classifier=dict(type='mmcausal.TauNormLinear'))])
def test_losses_on_sigmoids_are_refused(loss, head):
    init_default_scope('mmpretrain')
    for loss_module in (loss, dict(type='mmcausal.ClassBalancedLoss', loss=loss)):
        with pytest.raises(ValueError, match=f"needs a loss on the softmax .* {loss['type']} takes sigmoids.*; use a"):
            MODELS.build(dict(head, loss=loss_module))
