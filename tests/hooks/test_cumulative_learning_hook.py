"""The schedule of BBN in a real Runner."""
from types import SimpleNamespace

import pytest
import torch
from helpers.runners import baseline_cfg, bbn
from mmengine.runner import Runner

from mmcausal.hooks import CumulativeLearningHook


def test_bbn_trains_with_its_schedule(tmp_path):
    cfg = baseline_cfg(tmp_path, epochs=2, custom_hooks=[dict(type='mmcausal.CumulativeLearningHook')])
    cfg.model = bbn()
    cfg.train_dataloader.sampler = dict(type='mmcausal.TwoBranchSampler')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.conventional_share == 1 - 0.5**2  # in the second of two epochs
    assert torch.tensor(runner.message_hub.get_scalar('train/loss').data[0]).isfinite().all()
    with pytest.raises(ValueError, match='schedules an mmcausal.BBNClassifier'):
        CumulativeLearningHook().before_train(SimpleNamespace(model=torch.nn.Linear(1, 1), train_loop=None))


def test_a_training_by_iterations_is_refused(tmp_path):
    cfg = baseline_cfg(tmp_path, **{'train_cfg': dict(_delete_=True, type='IterBasedTrainLoop', max_iters=4),
                                    'custom_hooks': [dict(type='mmcausal.CumulativeLearningHook')]})
    cfg.model = bbn()
    cfg.train_dataloader.sampler = dict(type='mmcausal.TwoBranchSampler')
    with pytest.raises(ValueError, match='CumulativeLearningHook acts by epochs, but an IterBasedTrainLoop has one'):
        Runner.from_cfg(cfg).train()
