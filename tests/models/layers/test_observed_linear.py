"""The averages of a layer's input: their values, their counters, and what leaves them alone."""
import math
from types import SimpleNamespace

import pytest
import torch
from helpers import oracle

from mmcausal import functional
from mmcausal.models import (
    DeconfoundLinear,
    DetectionDeconfoundLinear,
    LogitAdjustedLinear,
    NCMLinear,
    TDELinear,
)
from mmcausal.models.layers.observed_linear import ObservedLinear, sum_over_ranks
from mmcausal.models.layers.tde_linear import BATCHES_WITHOUT_UPDATE


def cosine(batch, mean, num_heads):
    """The mean cosine by loops over floats."""
    cosines = [oracle.dot(head, direction) / oracle.norm(head) for row in batch.tolist()
               for head, direction in zip(oracle.heads(row, num_heads), oracle.direction(mean.tolist(), num_heads))]
    return sum(cosines) / len(cosines)


@pytest.mark.parametrize('num_heads', [1, 2, 4])
@pytest.mark.parametrize('momentum', [0., 0.25, 0.9])
def test_mean_cosine_is_a_moving_average_from_the_first(num_heads, momentum):
    layer, mean, average = DeconfoundLinear(8, 6, num_heads=num_heads), torch.zeros(8), None
    for step, shift in enumerate((2., 1., 0.5, 3.)):
        parts = [torch.randn(n, 8) + shift for n in (4, 2)]  # two batches for one update
        for part in parts:
            layer(part)
        layer.update_direction(momentum)
        batch = torch.cat(parts)
        mean = momentum * mean + (1 - momentum) * batch.mean(0)
        found = cosine(batch, mean, num_heads)
        average = found if step == 0 else momentum * average + (1 - momentum) * found
        assert float(layer.mean_cosine) == pytest.approx(average, abs=1e-5)
        torch.testing.assert_close(layer.mean_feature, mean)
        assert layer.num_updates == step + 1 and not layer.observed.any() and layer.num_skipped == 0


@pytest.mark.parametrize('sign, words', [(-1., 'but got -'), (0., 'but got 0.0')])
def test_cosines_that_are_not_positive_have_no_auto_alpha(sign, words):
    layer, x = TDELinear(4, 3, alpha='auto'), torch.tensor([[1., 2., 3., 4.]])
    layer(x)
    layer.update_direction(0.)
    assert float(layer.mean_cosine) == pytest.approx(1)
    layer.observe(sign * x)
    layer.update_direction(0.95)  # the mean feature keeps its direction
    assert float(layer.mean_cosine) == pytest.approx(0.95 + 0.05 * sign)
    layer.mean_cosine.fill_(sign)
    with pytest.raises(RuntimeError, match=f"'auto' needs a positive mean cosine .* {words}.*; set alpha to a number"):
        layer.eval()(x)
    layer.alpha = 0.5
    assert layer(x).isfinite().all()


def test_a_zero_feature_has_cosine_zero():
    layer = TDELinear(4, 3)
    layer(torch.tensor([[0., 0., 0., 0.], [0., 2., 0., 0.]]))
    layer.update_direction(0.5)
    assert float(layer.mean_cosine) == 0.5 and layer.mean_feature.tolist() == [0, 0.5, 0, 0]


def test_averages_keep_no_graph():
    layer = DeconfoundLinear(8, 6)
    network = torch.nn.Linear(8, 8)
    logits = layer(network(torch.randn(3, 8)))
    layer.observe(network(torch.randn(3, 8)), torch.tensor([True, False, True]))
    assert not layer.observed.requires_grad
    layer.update_direction(0.9)
    assert not layer.mean_feature.requires_grad and not layer.mean_cosine.requires_grad
    logits.sum().backward()  # the update came before


def test_only_the_samples_of_a_mask_count():
    layer, x = DeconfoundLinear(8, 6), torch.randn(5, 8) + 1
    mask = torch.tensor([True, False, True, True, False])
    layer.observe(x, mask)
    expected = torch.cat([x[mask].sum(0), functional.unit_heads(x[mask]).sum(0), torch.tensor([3., 0.])])
    torch.testing.assert_close(layer.observed, expected)
    layer.update_direction(0.)
    torch.testing.assert_close(layer.mean_feature, x[mask].mean(0))
    for wrong in (mask[:4], mask[None], torch.tensor(True)):
        with pytest.raises(ValueError, match='mask must have one value for each of 5 samples, but got shape'):
            layer.observe(x, wrong)
    assert not layer.observed.any()


def test_the_foreground_is_observed_within_the_context_alone():
    layer, x = DetectionDeconfoundLinear(8, 6), torch.randn(4, 8) + 1
    layer(x)
    assert not layer.observed.any()
    mask = torch.tensor([False, True, True, False])
    with layer.observing(mask):
        layer(x)
    torch.testing.assert_close(layer.observed[:8], x[mask].sum(0))
    before = layer.observed.clone()
    with pytest.raises(KeyError), layer.observing(mask):
        raise KeyError
    layer(x)
    with layer.observing(mask):
        layer.eval()(x)
    assert torch.equal(layer.observed, before)
    with pytest.raises(ValueError, match='one value for each of 3 samples'), layer.observing(mask):
        layer.train()(x[:3])


def test_an_update_says_that_somebody_schedules_and_counts_from_there(recwarn):
    layer = DeconfoundLinear(8, 6, alpha=1.)
    assert not layer.is_scheduled and layer.num_updates.dtype == layer.num_skipped.dtype == torch.long
    for _ in range(BATCHES_WITHOUT_UPDATE - 1):
        layer(torch.ones(1, 8))
    layer.update_direction(0.9)
    assert layer.is_scheduled
    for _ in range(BATCHES_WITHOUT_UPDATE - 1):
        layer(torch.ones(1, 8))
    assert not recwarn.list
    layer(torch.ones(1, 8))
    assert ['nothing updated it for 1000 batches' in str(warning.message) for warning in recwarn] == [True]


def test_reset_forgets_everything():
    layer = DeconfoundLinear(8, 6)
    layer(torch.full((2, 8), math.nan))
    layer(torch.ones(2, 8))
    layer.update_direction(0.9)
    layer(torch.ones(2, 8))
    layer.has_told_of_skipped = True
    assert layer.num_skipped == 1
    layer.reset_direction()
    assert not any(buffer.any() for buffer in layer.buffers()) and not layer.has_told_of_skipped


@pytest.mark.parametrize('momentum', [1., -0.1, math.nan, None, True, '0.9'])
def test_a_wrong_momentum_moves_nothing(momentum):
    layer = DeconfoundLinear(8, 6)
    layer(torch.ones(2, 8))
    with pytest.raises(ValueError, match=r'momentum must be a number in \[0, 1\), but got'):
        layer.update_direction(momentum)
    assert not layer.mean_feature.any() and layer.num_updates == 0


@pytest.mark.parametrize('is_available, is_initialized, ranks, factor', [
    (True, True, 3, 3), (True, True, 2, 2), (True, True, 1, 1), (True, False, 3, 1), (False, True, 3, 1)])
def test_sums_of_several_processes_are_added(monkeypatch, is_available, is_initialized, ranks, factor):
    calls = []
    distributed = SimpleNamespace(is_available=lambda: is_available, is_initialized=lambda: is_initialized,
                                  get_world_size=lambda: ranks,
                                  all_reduce=lambda tensor: calls.append(tensor.mul_(ranks)))
    monkeypatch.setattr('mmcausal.models.layers.observed_linear.distributed', distributed)
    tensor = torch.ones(3)
    sum_over_ranks(tensor)
    assert tensor.tolist() == [factor] * 3 and len(calls) == (factor > 1)
    layer = DeconfoundLinear(8, 6)
    layer(torch.ones(2, 8))
    layer.update_direction(0.)
    assert layer.mean_feature.tolist() == [1] * 8 and len(calls) == 2 * (factor > 1)  # sums and counts of all ranks


def test_the_averages_are_saved_and_the_sums_are_not():
    layer = ObservedLinear(8, 6)  # with a bias, as nn.Linear
    assert list(layer.state_dict()) == ['weight', 'bias', 'mean_feature', 'mean_cosine', 'num_updates']
    assert list(TDELinear(8, 6).state_dict()) == ['weight', 'mean_feature', 'mean_cosine', 'num_updates']


def test_averages_move_to_the_device_and_keep_their_precision():
    layer = DeconfoundLinear(8, 6).to(device='meta', dtype=torch.float16)
    assert layer.weight.dtype == torch.float16 and layer.mean_feature.dtype == layer.observed.dtype == torch.float32
    assert {buffer.device.type for buffer in layer.buffers()} == {'meta'}


@pytest.mark.parametrize('layer', [ObservedLinear, TDELinear, DeconfoundLinear, NCMLinear, LogitAdjustedLinear])
def test_buffers_of_a_layer_from_meta_are_zero(layer):
    """As torch.nn.utils.skip_init and FSDP materialise it, and a module around it."""
    made = [layer(8, 6, device='meta').to_empty(device='cpu', recurse=False), torch.nn.utils.skip_init(layer, 8, 6),
            torch.nn.Sequential(layer(8, 6, device='meta')).to_empty(device='cpu')[0]]
    for each in made:
        assert not any(buffer.any() for buffer in each.buffers())
        assert {buffer.dtype for buffer in each.buffers()} == {buffer.dtype for buffer in layer(8, 6).buffers()}
