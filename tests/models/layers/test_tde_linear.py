"""The moving average and the alpha of a classifier layer."""
import copy
import math

import pytest
import torch
from helpers.layers import trained_layer

from mmcausal import functional
from mmcausal.models import DeconfoundLinear, TDELinear
from mmcausal.models.layers.tde_linear import BATCHES_WITHOUT_UPDATE


def test_moving_average_equals_the_loop():
    batches = [torch.randn(n, 8) + 1 for n in (4, 2, 7)]
    layer, mean = DeconfoundLinear(8, 6), torch.zeros(8)
    for batch in batches:
        layer(batch)
        layer.update_direction(0.9)
        mean = 0.9 * mean + 0.1 * batch.mean(0)
    torch.testing.assert_close(layer.mean_feature, mean)
    assert layer.num_updates == 3
    assert 0 < layer.mean_cosine < 1


def test_first_mean_cosine_stands_for_itself():
    layer, x = DeconfoundLinear(8, 6), torch.randn(9, 8) + 1
    layer(x)
    layer.update_direction(0.9998)
    torch.testing.assert_close(layer.mean_cosine, functional.mean_cosine(x, x.mean(0)))


@pytest.mark.parametrize('batch', [torch.zeros(0, 8), torch.full((3, 8), math.nan), torch.full((3, 8), math.inf)])
def test_unusable_batches_move_nothing(batch):
    layer = trained_layer()
    before = copy.deepcopy(layer.state_dict())
    layer.observe(batch)
    layer.update_direction(0.9)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert not layer.observed.any()


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
def test_a_batch_that_is_not_finite_is_left_out_of_a_mean_over_batches(bad):
    batches = [torch.randn(n, 8) + 1 for n in (4, 2, 7)]
    spoilt = torch.randn(5, 8)
    spoilt[3, 2] = bad
    layer = DeconfoundLinear(8, 6)
    for batch in (*batches[:2], spoilt, batches[2]):
        layer.observe(batch)
    layer.update_direction(0.)
    expected = torch.cat(batches)
    torch.testing.assert_close(layer.mean_feature, expected.mean(0))
    torch.testing.assert_close(layer.mean_cosine, functional.mean_cosine(expected, expected.mean(0)))
    assert layer.num_updates == 1


def test_half_precision_counts_every_sample():
    layer = DeconfoundLinear(8, 6)
    layer.observe(torch.ones(4097, 8, dtype=torch.float16))
    layer.update_direction(0.)
    assert torch.equal(layer.mean_feature, torch.ones(8))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_averages_of_a_half_precision_layer_are_float32(dtype):
    built, converted = DeconfoundLinear(8, 6, dtype=dtype), DeconfoundLinear(8, 6).to(dtype)
    for layer in (built, converted):
        assert layer.weight.dtype == dtype and layer.num_updates.dtype == torch.long
        features = torch.full((300, 8), 300., dtype=dtype)  # their sum overflows float16
        layer(features)
        layer.update_direction(0.)
        assert layer.mean_feature.dtype == torch.float32 and layer.num_updates == 1
        torch.testing.assert_close(layer.mean_feature, torch.full((8, ), 300.))
        assert layer.double().mean_feature.dtype == torch.float64
        assert layer.eval()(features.double()).isfinite().all()


def test_evaluation_observes_nothing():
    layer = trained_layer().eval()
    layer(torch.randn(3, 8))
    assert not layer.observed.any()


def test_no_host_synchronisation_in_an_iteration():
    """An update runs on the meta device, where reading a value is an error."""
    layer = DeconfoundLinear(8, 6, device='meta')
    layer.observe(torch.zeros(3, 8, device='meta'))
    layer.update_direction(0.9)
    with pytest.raises((NotImplementedError, RuntimeError)):
        layer.mean_cosine.item()


def test_tde_without_direction_is_an_error_that_helps():
    layer = DeconfoundLinear(8, 6, alpha=1.5)
    layer(torch.randn(3, 8))
    with pytest.raises(RuntimeError, match='HeadDirectionHook.*estimate_direction'):
        layer.eval()(torch.randn(3, 8))
    layer.alpha = 0.
    assert layer(torch.randn(0, 8)).shape == (0, 6)


def test_training_without_the_hook_warns_before_the_first_evaluation_fails(recwarn):
    plain, forgotten, moved = (DeconfoundLinear(8, 6, alpha=alpha) for alpha in (0., 1.5, 1.5))
    for layer in (plain, forgotten, moved):
        for step in range(2 * BATCHES_WITHOUT_UPDATE):
            layer(torch.zeros(1, 8))
            if layer is moved and step % 999 == 0:
                layer.update_direction(0.9)
    assert [str(w.message) for w in recwarn if 'HeadDirectionHook' in str(w.message)] == [
        'TDE (alpha=1.5) needs the head direction of the training features, but nothing updated it for 1000 batches; '
        'add custom_hooks=[dict(type="mmcausal.HeadDirectionHook")], or call update_direction(momentum) after each '
        'optimizer step in a loop of your own']


def test_auto_alpha_is_the_rule_and_survives_a_checkpoint():
    layer = trained_layer(alpha='auto').eval()
    assert layer.resolved_alpha() * float(layer.mean_cosine) == pytest.approx(1)
    other = DeconfoundLinear(8, 6, alpha='auto').eval()
    other.load_state_dict(layer.state_dict())
    x = torch.randn(4, 8)
    assert torch.equal(layer(x), other(x))
    layer.mean_cosine.zero_()
    with pytest.raises(RuntimeError, match="alpha='auto' needs a positive mean cosine"):
        layer(x)


def test_updates_without_a_finite_sample_are_not_a_missing_hook():
    layer = DeconfoundLinear(8, 6, alpha=1.5)
    layer(torch.full((3, 8), float('nan')))
    layer.update_direction(0.9)
    with pytest.raises(RuntimeError, match='but no batch had finite features alone. alpha=0 gives the total effect'):
        layer.eval()(torch.randn(3, 8))


def test_defaults_and_the_authors_initialisation():
    layer = DeconfoundLinear(64, 100)
    assert layer.alpha == 0 and layer.bias is None and TDELinear(8, 6).alpha == 0 and TDELinear(8, 6).bias is None
    with torch.no_grad():
        layer.weight.zero_()
    layer.init_weights()
    assert 0.12 < float(layer.weight.abs().max()) <= 1 / 8  # U(-1/sqrt(D), 1/sqrt(D))
    with pytest.raises(ValueError, match='^init_length must be a number in'):
        DeconfoundLinear(8, 6, init_length=-1.)


def test_a_layer_that_was_never_trained_warns_of_its_logits_too(recwarn):
    layer = TDELinear(8, 6).eval()
    with torch.no_grad():
        layer.weight.fill_(math.nan)
    layer(torch.ones(3, 8))
    layer(torch.ones(2, 8))
    assert [str(warning.message)[:35] for warning in recwarn] == ['3 of the 3 samples of a batch have ']


@pytest.mark.parametrize('alpha', [0., 1., 1.5])
def test_a_direction_that_no_sample_moves_is_told_in_the_thousandth_batch(alpha, recwarn):
    layer = DeconfoundLinear(8, 6, alpha=alpha)
    for _ in range(BATCHES_WITHOUT_UPDATE):
        assert not recwarn.list
        layer(torch.zeros(0, 8))
        layer.update_direction(0.9)
    told = ['in 1000 batches no batch had finite features' in str(warning.message) for warning in recwarn]
    assert told == ([True] if alpha else [])
