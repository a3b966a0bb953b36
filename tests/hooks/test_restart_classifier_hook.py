"""A new classifier on the features of stage one."""
from types import SimpleNamespace

import pytest
import torch

from mmcausal.hooks import RestartClassifierHook


def test_restart_forgets_the_classifier_of_stage_one(stage_one):
    torch.manual_seed(1)
    model = SimpleNamespace(head=SimpleNamespace(fc=torch.nn.Linear(4, 3)))
    before = model.head.fc.weight.detach().clone()
    RestartClassifierHook().before_train(SimpleNamespace(model=model, iter=0))
    assert not torch.equal(model.head.fc.weight, before)
    with pytest.raises(ValueError, match='needs a model with a layer head.fc'):
        RestartClassifierHook().before_train(SimpleNamespace(model=torch.nn.Linear(1, 1), iter=0))
