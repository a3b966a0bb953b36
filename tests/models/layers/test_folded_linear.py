"""Folded weights in evaluation: computed once, and never those of another state."""
import contextlib
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from torch import nn

from mmcausal import functional
from mmcausal.class_prior import TakesClassCounts
from mmcausal.models import layers
from mmcausal.models.layers import DeconfoundLinear, DetectionDeconfoundLinear, TDELinear

D, C = 8, 5
LAYERS = {
    **{f'{name} K={heads}': lambda name=name, heads=heads: DeconfoundLinear(D, C, normalizer=name, num_heads=heads)
       for name in functional.NORMALIZERS for heads in (1, 2)},
    'linear with bias': lambda: TDELinear(D, C, bias=True),
    'tau-norm': lambda: layers.TauNormLinear(D, C, exponent=0.7),
    'LWS': lambda: layers.LWSLinear(D, C),
    'NCM': lambda: layers.NCMLinear(D, C),
    'Euclidean NCM': lambda: layers.EuclideanNCMLinear(D, C, tau=0.5),
    'logit adjustment': lambda: layers.LogitAdjustedLinear(D, C),
    'logit adjustment of de-confound': lambda: layers.LogitAdjustedDeconfoundLinear(D, C),
    'detector': lambda: DetectionDeconfoundLinear(D, C),
    'detector with bias': lambda: DetectionDeconfoundLinear(D, C, bias=True),
    'detector without exemption': lambda: DetectionDeconfoundLinear(D, C, exempt_background=False),
    'Seesaw': lambda: with_two_backgrounds(DetectionDeconfoundLinear(D, C)),
}


def with_two_backgrounds(layer):
    layer.num_background = 2
    return layer


def trained(name, alpha=1.5):
    torch.manual_seed(0)
    layer = LAYERS[name]()
    if isinstance(layer, TakesClassCounts):
        layer.set_class_counts(list(range(1, C + 1)))
    if isinstance(layer, layers.NCMLinear):
        layer.add_samples(torch.randn(3 * C, D), torch.arange(3 * C) % C)
        layer.set_means()
    if isinstance(layer, layers.LWSLinear):
        nn.init.uniform_(layer.scale)
    layer.observe(torch.randn(9, D) + 1)
    layer.update_direction(0.)
    layer.alpha = alpha
    return layer.eval()


def plain(layer, x):
    """What the layer computes where a gradient is wanted, without folded weights."""
    with torch.no_grad():
        return layer.total_effect(x) if layer.alpha == 0 else layer.total_direct_effect(x)


@pytest.mark.parametrize('alpha', [0., 1.5, 'auto'])
@pytest.mark.parametrize('name', LAYERS)
def test_folding_changes_nothing(name, alpha):
    layer, x = trained(name, alpha), torch.randn(6, D)
    x[0] = 0
    with torch.no_grad():
        torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)
        assert layer(x[:0]).shape == (0, C)
    torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('name', LAYERS)
def test_folding_in_training_mode_is_of_the_evaluation(name):
    layer, x = trained(name), torch.randn(7, D)
    expected = plain(layer, x)
    folded = layer.train().fold()
    assert layer.training
    torch.testing.assert_close(folded.eval()(x), expected, rtol=1e-4, atol=1e-4)


def other_weights(layer):
    torch.manual_seed(1)
    return nn.init.normal_(torch.empty_like(layer.weight))


def by_data(layer):
    layer.weight.data.copy_(other_weights(layer))


def by_data_of_one_class(layer):
    layer.weight.data[3] *= 2


def in_place(layer):
    with torch.no_grad():
        layer.weight[2, 1] += 1


def in_another_place(layer):
    layer.weight = nn.Parameter(other_weights(layer))


def by_checkpoint(layer):
    layer.load_state_dict({**layer.state_dict(), 'weight': other_weights(layer)})


def by_ema(layer):
    hook = EMAHook()
    hook.src_model, hook.ema_model = layer, ExponentialMovingAverage(layer)
    hook.ema_model.module.weight.data.copy_(other_weights(layer))
    hook._swap_ema_parameters()


def by_ema_of_buffers(layer):
    hook = EMAHook()
    hook.src_model, hook.ema_model = layer, ExponentialMovingAverage(layer, update_buffers=True)
    hook.ema_model.module.mean_feature.data.mul_(torch.rand(D))
    hook._swap_ema_parameters()


def by_optimizer(layer, kind=torch.optim.SGD):
    optimizer = kind(layer.parameters(), lr=0.1)
    layer.total_effect(torch.randn(4, D)).exp().sum().backward()
    optimizer.step()


def by_adamw(layer):
    by_optimizer(layer, torch.optim.AdamW)


def by_update(layer):
    layer.observe(torch.randn(5, D) - 2)
    layer.update_direction(0.5)


def by_training(layer):
    layer.train()
    is_detector = isinstance(layer, DetectionDeconfoundLinear)
    with layer.observing(torch.ones(5, dtype=torch.bool)) if is_detector else contextlib.nullcontext():
        layer(torch.randn(5, D))
    layer.update_direction(0.5)
    layer.eval()


def by_direction(layer):
    layer.mean_feature.data[0] += 3


def by_alpha(layer):
    layer.alpha = 0.25


def by_automatic_alpha(layer):
    layer.alpha = 'auto'
    layer.mean_cosine.data.fill_(0.3)


def without_tde(layer):
    layer.alpha = 0.
    layer.reset_direction()


def by_heads(layer):
    layer.num_heads = 4


def by_alpha_of_numpy(layer):
    layer.alpha = np.float32(0.25)


def by_heads_of_numpy(layer):
    layer.num_heads = np.int64(4)


def by_tau_of_numpy(layer):
    layer.tau = np.float32(3.)


def by_data_of_some_channels(layer):
    layer.weight.data[:, 4:6] = 0


def by_tau_and_gamma(layer):
    layer.tau, layer.gamma = 3., 0.5


def by_normalizer(layer):
    layer.normalizer = 'capsule'


def by_precision(layer):
    layer.double()


CHANGES = [by_data, by_data_of_one_class, in_place, in_another_place, by_checkpoint, by_ema, by_ema_of_buffers,
           by_optimizer, by_adamw, by_update, by_training, by_direction, by_alpha, by_automatic_alpha, without_tde,
           by_heads, by_alpha_of_numpy, by_heads_of_numpy, by_tau_of_numpy,
           by_data_of_some_channels, by_tau_and_gamma, by_normalizer, by_precision]


@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('name', ['deconfound K=2', 'detector', 'detector without exemption'])
def test_folded_weights_are_never_stale(name, change):
    layer, x = trained(name), torch.randn(6, D)
    with torch.no_grad():
        before = layer(x)
    change(layer)
    x = x.to(layer.weight.dtype)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)
        if change is not by_precision:
            assert not torch.allclose(layer(x), before, atol=1e-4)


@pytest.mark.parametrize('name, attribute', [
    ('linear with bias', 'bias'), ('LWS', 'scale'), ('LWS', 'bias'), ('NCM', 'weight'), ('Euclidean NCM', 'weight'),
    ('logit adjustment', 'log_prior'), ('detector with bias', 'bias')])
def test_changes_of_other_tensors_count(name, attribute):
    layer, x = trained(name), torch.randn(6, D)
    with torch.no_grad():
        before = layer(x)
        getattr(layer, attribute).data.add_(torch.rand(C) if attribute != 'weight' else torch.rand(C, D))
        torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(layer(x), before, atol=1e-4)


@pytest.mark.parametrize('name, attribute', [('tau-norm', 'exponent'), ('NCM', 'tau'), ('logit adjustment', 'tau')])
def test_changes_of_settings_count(name, attribute):
    layer, x = trained(name), torch.randn(6, D)
    with torch.no_grad():
        before = layer(x)
        setattr(layer, attribute, 0.2)
        torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(layer(x), before, atol=1e-4)


def count_folds(layer, monkeypatch):
    folds = []
    monkeypatch.setattr(layer, 'fold', lambda: folds.append(layer.alpha) or type(layer).fold(layer))
    return folds


@pytest.mark.parametrize('name', ['deconfound K=2', 'detector'])
def test_folded_once(name, monkeypatch):
    layer = trained(name)
    folds = count_folds(layer, monkeypatch)
    with torch.no_grad():
        for alpha in (1.5, 1.5, 0., 1.5, 0., 1.5):  # as in a validation that reports the total effect beside TDE
            layer.alpha = alpha
            layer(torch.randn(6, D))
        assert folds == [1.5, 0.]
        for alpha in (0.1, 0.2, 0.3):
            layer.alpha = alpha
            layer(torch.randn(6, D))
    assert len(folds) == 5 and len(layer._folded._kept.folds) <= 2


def test_training_and_copies_keep_no_folded_weights():
    layer = trained('deconfound K=2')
    with torch.no_grad():
        layer(torch.randn(6, D))
    assert layer._folded._kept.folds
    assert not copy.deepcopy(layer)._folded._kept.folds
    assert not pickle.loads(pickle.dumps(layer))._folded._kept.folds
    assert set(layer.state_dict()) == {'weight', 'mean_feature', 'mean_cosine', 'num_updates'}
    assert not layer.train()._folded._kept.folds


def test_gradients_in_evaluation():
    """Of the features alone, as for Grad-CAM, through the folded weights; of the weights, around them."""
    layer, x = trained('deconfound K=2'), torch.randn(6, D, requires_grad=True)
    layer(x)[:, 0].sum().backward()
    assert layer.weight.grad.any()
    expected, x.grad = x.grad, None
    layer.requires_grad_(False)
    layer(x)[:, 0].sum().backward()
    assert layer._folded._kept.folds
    torch.testing.assert_close(x.grad, expected, atol=1e-5, rtol=1e-5)


def test_layers_made_in_inference_mode(monkeypatch):
    with torch.inference_mode():
        layer, x = trained('deconfound K=2'), torch.randn(6, D)
        before = layer(x)
        layer.weight[0] *= -1
        torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)
        assert not torch.equal(layer(x), before)


@pytest.mark.parametrize('channels', [2, 8, 100])
def test_writes_through_data_to_any_class_are_noticed(channels):
    """The sample of a matrix has numbers of each row and column."""
    layer, x = DeconfoundLinear(channels, 30).eval(), torch.randn(6, channels)
    with torch.no_grad():
        for place in (*range(30), *((slice(None), column) for column in range(channels))):
            before = layer(x)
            layer.weight.data[place] = -2 * layer.weight.data[place]
            assert not torch.equal(layer(x), before), place


def test_a_folded_layer_keeps_its_state():
    layer, x = trained('linear with bias'), torch.randn(6, D)
    folded = layer.fold()
    before = folded(x)
    with torch.no_grad():
        layer.weight.mul_(2)
        layer.bias.add_(1)
        layer.mean_feature.neg_()
    assert torch.equal(folded(x), before) and not before.requires_grad


class ScaledLinear(DeconfoundLinear):
    """A layer of somebody else, with a state that this package does not know."""
    options = [1.]

    def effective_weight(self):
        return self.weight * self.options[0]

    def total_effect(self, x):
        return super().total_effect(x) + self.options[0]


def test_layers_of_others_are_not_folded():
    layer, x = ScaledLinear(D, C, normalizer='linear', num_heads=1).eval(), torch.randn(6, D)
    with torch.no_grad():
        before = layer(x)
        layer.options[0] = 2.
        torch.testing.assert_close(layer(x), 2 * before)
        torch.nn.utils.parametrize.register_parametrization(layer, 'weight', nn.Tanh())
        torch.testing.assert_close(layer(x), layer.total_effect(x))
    ScaledLinear.options[0] = 1.


def test_a_gradient_after_an_evaluation_in_inference_mode():
    layer, x = trained('deconfound K=2').requires_grad_(False), torch.randn(6, D, requires_grad=True)
    with torch.inference_mode():
        expected = layer(x)
    logits = layer(x)
    logits.sum().backward()
    assert torch.equal(logits.detach(), expected) and x.grad.any()


def test_tensors_elsewhere_and_layers_of_earlier_versions():
    layer, x = trained('deconfound K=2'), torch.randn(6, D)
    layer.note, layer.empty = torch.zeros(3, device='meta'), torch.zeros(0, 4)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), plain(layer, x), atol=1e-5, rtol=1e-5)
        del layer.note
        state = {name: value for name, value in vars(layer).items() if name != '_folded'}
        earlier = DeconfoundLinear.__new__(DeconfoundLinear)
        earlier.__setstate__(state)
        assert torch.equal(earlier(x), layer(x))


def test_threads_share_a_layer():
    layer, x = trained('deconfound K=2'), torch.randn(6, D)
    expected = plain(layer, x)

    def evaluate(_):
        with torch.no_grad():
            layer.alpha = 1.5
            layer._folded.clear()
            return layer(x)

    with ThreadPoolExecutor(4) as pool:
        for logits in pool.map(evaluate, range(200)):
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
