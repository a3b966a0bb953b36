"""The number of samples without a prediction."""
import math

import pytest
import torch

from mmcausal.models import DeconfoundLinear
from mmcausal.models.layers.logits import count_meaningless


@pytest.mark.parametrize('logits, number', [
    ([[0., 1.], [2., 2.]], 0), ([[1., 1.], [2., 2.]], 2), ([[1., 1.]], 1), ([[1., 1., 1.]], 1), ([[1.], [1.]], 0),
    ([[0., math.nan], [0., 1.], [math.inf, 1.], [-math.inf, 0.]], 3), ([[math.nan], [1.]], 1), ([[0., 1.]], 0),
    ([[0., 0., 1.], [1., 0., 0.]], 0), ([[1., 0., 1.], [2., 0., 2.]], 0),
    ([[0., 1e-20], [1e-20, 0.]], 2), ([[1e-9, 0.]], 0),
    ([[3e38, 3e38, 0.]], 0), ([[math.nan, math.nan], [3., 3.]], 1),
])
def test_rows_that_are_not_finite_or_all_rows_if_each_is_equal(logits, number):
    assert count_meaningless(torch.tensor(logits)) == number


@pytest.mark.parametrize('shape', [(0, 3), (3, 0), (0, 0)])
def test_no_logits(shape):
    assert count_meaningless(torch.zeros(shape)) == 0


def test_nothing_is_counted_while_a_graph_is_built(monkeypatch):
    logits = torch.zeros(2, 3)
    assert count_meaningless(logits) == 2
    with monkeypatch.context() as patch:
        patch.setattr(torch.jit, 'is_tracing', lambda: True)
        assert count_meaningless(logits) == 0
    if hasattr(torch, 'compiler'):
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, 'is_compiling', lambda: True, raising=False)
            assert count_meaningless(logits) == 0
    assert count_meaningless(logits) == 2


@pytest.mark.parametrize('alpha', [0., 0.5])
def test_gradients_of_each_sample_in_evaluation(alpha):
    layer, x, labels = DeconfoundLinear(8, 6), torch.randn(5, 8), torch.tensor([0, 3, 5, 1, 2])
    layer.observe(torch.randn(9, 8) + 1)
    layer.update_direction(0.)
    layer.eval().alpha = alpha

    def loss(weight, row, label):
        logits = torch.func.functional_call(layer, dict(weight=weight), (row[None], ))
        return torch.nn.functional.cross_entropy(logits, label[None])

    weight = layer.weight.detach()
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weight, x, labels)
    for row, label, gradient in zip(x, labels, each):
        layer.zero_grad()
        loss(layer.weight, row, label).backward()
        torch.testing.assert_close(gradient, layer.weight.grad)
