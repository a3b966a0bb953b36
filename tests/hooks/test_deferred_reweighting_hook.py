"""Deferred re-weighting of a loss."""
from types import SimpleNamespace

import pytest
from helpers.class_counts import COUNTS, built, random_batch
from helpers.runners import baseline_cfg
from mmengine.runner import Runner
from torch import nn

from mmcausal import class_prior
from mmcausal.hooks import DeferredReweightingHook


@pytest.fixture
def batch():
    return random_batch()


def test_deferred_reweighting_of_ldam(batch):
    loss = built('DeferredReweightingLoss', loss=dict(type='mmcausal.LDAMLoss'), beta=0.9999)
    runner = SimpleNamespace(model=nn.Sequential(loss), epoch=0, train_loop=None)
    hook = DeferredReweightingHook(begin=2)
    hook.before_train(runner)
    values = []
    for runner.epoch in range(4):  # as a resumed training would, from any epoch
        hook.before_train_epoch(runner)
        values.append(loss(*batch, avg_factor=7).item())
    plain = built('LDAMLoss')(*batch, reduction_override='none').tolist()
    weights = class_prior.effective_number_weights(COUNTS, 0.9999)[batch[1]].tolist()
    weighted = sum(w * x for w, x in zip(weights, plain)) / sum(weights)
    assert values == pytest.approx([sum(plain) / 7] * 2 + [weighted] * 2, rel=1e-5)
    assert weighted != pytest.approx(sum(plain) / 7)
    with pytest.raises(ValueError, match='no mmcausal.DeferredReweightingLoss'):
        hook.before_train(SimpleNamespace(model=nn.Linear(1, 1), train_loop=None))
    with pytest.raises(ValueError, match='begin must be'):
        DeferredReweightingHook(begin=-1)


def test_a_training_by_iterations_is_refused(tmp_path):
    loss = dict(type='mmcausal.DeferredReweightingLoss', loss=dict(type='mmcausal.LDAMLoss'))
    cfg = baseline_cfg(tmp_path, **{
        'train_cfg': dict(_delete_=True, type='IterBasedTrainLoop', max_iters=4), 'model.head.loss': loss,
        'custom_hooks': [dict(type='mmcausal.ClassPriorHook'), dict(type='mmcausal.DeferredReweightingHook', begin=1)]})
    with pytest.raises(ValueError, match='DeferredReweightingHook acts by epochs, but an IterBasedTrainLoop has one'):
        Runner.from_cfg(cfg).train()
