"""Classifiers that keep the features of stage one, against their formulas."""
from types import SimpleNamespace

import pytest
import torch
from helpers.runners import head_of, train_stage_two, unchanged
from torch.nn import functional as F

from mmcausal import functional
from mmcausal.hooks import ClassPriorHook
from mmcausal.models import (
    DeconfoundLinear,
    EuclideanNCMLinear,
    LogitAdjustedDeconfoundLinear,
    LogitAdjustedLinear,
    LWSLinear,
    NCMLinear,
    TauNormLinear,
)
from mmcausal.models.layers import decoupled_linears


def test_learnable_weight_scaling_trains_one_factor_a_class(stage_one, tmp_path):
    runner = train_stage_two(tmp_path, stage_one.checkpoint, head_of('LWSLinear'))
    layer = runner.model.head.fc
    assert unchanged(runner, stage_one) and torch.equal(layer.weight, stage_one.model.head.fc.weight)
    assert (layer.scale != 1).all() and torch.equal(layer.bias, stage_one.model.head.fc.bias)
    x = torch.randn(5, 256)
    expected = [[layer.scale[c] * ((layer.weight[c] * row).sum() + layer.bias[c]) for c in range(10)] for row in x]
    torch.testing.assert_close(layer(x), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_weight_scaling_of_a_classifier_without_bias():
    layer, linear, x = LWSLinear(6, 4), torch.nn.Linear(6, 4, bias=False), torch.randn(5, 6)
    layer.init_weights()
    layer.load_state_dict(linear.state_dict(), strict=False)
    torch.testing.assert_close(layer.train()(x), linear(x))
    assert [name for name, parameter in layer.named_parameters() if parameter.requires_grad] == ['scale']


def test_means_need_a_sample_of_each_class():
    layer = NCMLinear(4, 3)
    layer.add_samples(torch.randn(2, 4), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match='class 1 with count 0'):
        layer.set_means()
    with pytest.raises(RuntimeError, match='has no class means'):
        layer.eval()(torch.randn(1, 4))


def test_euclidean_distances_to_the_class_means():
    layer, x, labels = EuclideanNCMLinear(4, 3, tau=2.), torch.randn(9, 4), torch.arange(9) % 3
    layer.add_samples(x, labels)
    layer.set_means()
    means = [x[labels == c].mean(0) for c in range(3)]
    expected = torch.tensor([[-2 * (row - mean).pow(2).sum() for mean in means] for row in x]).softmax(-1)
    torch.testing.assert_close(layer.eval()(x).softmax(-1), expected)


@pytest.mark.parametrize('exponent', [0., 0.4, 1.])
def test_tau_norm(exponent):
    layer, x = TauNormLinear(6, 4, exponent=exponent), torch.randn(5, 6)
    linear = x @ layer.weight.t()
    torch.testing.assert_close(layer.train()(x), linear)
    expected = [[(w * row).sum() / w.pow(2).sum().sqrt()**exponent for w in layer.weight] for row in x]
    torch.testing.assert_close(layer.eval()(x), torch.tensor(expected))
    if exponent == 0:
        torch.testing.assert_close(layer(x), linear)
    if exponent == 1:
        torch.testing.assert_close(layer(x), F.linear(x, F.normalize(layer.weight)))


@pytest.mark.parametrize('layer', [TauNormLinear(6, 4, exponent=0.7), LWSLinear(6, 4), NCMLinear(6, 4)])
def test_tde_of_decoupled_classifiers(layer):
    """They are linear classifiers of other weights, so Eq. 8 holds with these."""
    if isinstance(layer, NCMLinear):
        layer.has_means.fill_(True)
    if isinstance(layer, LWSLinear):
        torch.nn.init.uniform_(layer.scale)
    x, mean = torch.randn(5, 6), torch.rand(6)
    layer.eval().mean_feature.copy_(mean)
    layer.alpha = 1.5
    expected = functional.total_direct_effect(x, layer.effective_weight(), mean, 1.5, num_heads=1,
                                              normalizer=layer.normalizer)
    if layer.bias is not None:
        expected = expected + layer.scale * layer.bias
    torch.testing.assert_close(layer(x), expected)
    assert not torch.allclose(layer(x), layer.total_effect(x))


@pytest.mark.parametrize('tau', [0., 1., 2.])
def test_post_hoc_logit_adjustment(tau):
    layer, x, counts = LogitAdjustedLinear(6, 3, tau=tau), torch.randn(5, 6), [90, 9, 1]
    if tau:
        with pytest.raises(RuntimeError, match='ClassPriorHook'):
            layer.eval()(x)
    loaders = SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(class_counts=counts)))
    ClassPriorHook().before_test(SimpleNamespace(model=layer, test_dataloader=loaders))
    linear = F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(layer.train()(x), linear)
    torch.testing.assert_close(layer.eval()(x), linear - tau * (torch.tensor(counts) / 100).log())
    with pytest.raises(ValueError, match='for each of 3 classes'):
        layer.set_class_counts([1, 2])


@pytest.mark.parametrize('layer, argument', [(TauNormLinear, 'exponent'), (LogitAdjustedLinear, 'tau'),
                                             (LogitAdjustedDeconfoundLinear, 'adjustment')])
def test_strengths_are_checked(layer, argument):
    with pytest.raises(ValueError, match=f'{argument} must be a number'):
        layer(4, 3, **{argument: -0.1})


def test_a_class_weight_of_zero_has_zero_logits():
    layer = TauNormLinear(4, 3)
    with torch.no_grad():
        layer.weight[1] = 0
    logits = layer.eval()(torch.randn(2, 4))
    assert logits.isfinite().all() and (logits[:, 1] == 0).all()


def test_weight_scaling_needs_the_weights_of_stage_one():
    layer = LWSLinear(4, 3)
    with pytest.raises(RuntimeError, match='set load_from'):
        layer(torch.randn(2, 4))
    assert (layer.bias == 0).all()
    with torch.no_grad():
        layer.weight.fill_(9)
    layer.init_weights()
    assert (layer.weight.abs() <= 4**-0.5).all()
    layer.load_state_dict({'scale': torch.ones(3)}, strict=False)  # not the weights to scale
    with pytest.raises(RuntimeError, match='set load_from'):
        layer(torch.randn(2, 4))


def test_class_means_of_half_precision_features():
    layer, x = NCMLinear(4, 3), torch.randn(6, 4, requires_grad=True)
    layer.add_samples(x.bfloat16(), torch.arange(6) % 3)
    assert not layer.sums.requires_grad  # or the graphs of all images would be kept
    layer.set_means()
    torch.testing.assert_close(layer.weight, (x[:3] + x[3:]).bfloat16().float() / 2, rtol=1e-2, atol=1e-2)
    assert set(layer.state_dict()) == {'weight', 'has_means', 'mean_feature', 'mean_cosine', 'num_updates'}
    loaded = NCMLinear(4, 3)
    loaded.load_state_dict(layer.state_dict())
    assert torch.equal(loaded.eval()(x), layer.eval()(x))
    loaded.load_state_dict(NCMLinear(4, 3).state_dict())  # knows no means any more
    with pytest.raises(RuntimeError, match='has no class means'):
        loaded(x)


def test_class_means_are_those_of_all_processes(monkeypatch):
    """With every sum twice as large, as from two ranks with the same images, the means stay."""
    layer, x = NCMLinear(4, 3), torch.randn(6, 4)
    layer.add_samples(x, torch.arange(6) % 3)
    summed = []
    monkeypatch.setattr(decoupled_linears, 'sum_over_ranks', lambda tensor: summed.append(tensor.mul_(2)))
    layer.set_means()
    assert [tuple(tensor.shape) for tensor in summed] == [(3, 4), (3, )]
    torch.testing.assert_close(layer.weight, (x[:3] + x[3:]) / 2)


def test_another_pass_starts_from_nothing():
    layer, labels = NCMLinear(4, 3), torch.arange(6) % 3
    for x in (torch.randn(6, 4), torch.randn(6, 4)):
        layer.add_samples(x, labels)
        layer.set_means()
        torch.testing.assert_close(layer.weight, (x[:3] + x[3:]) / 2)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_distances_to_long_class_means_in_half_precision(dtype):
    """tau |m|^2 is out of the range of float16, which ends at 65504."""
    layer, x = EuclideanNCMLinear(512, 3), 6 * torch.rand(6, 512)
    layer.add_samples(x, torch.arange(6) % 3)
    layer.set_means()
    layer.eval().to(dtype)
    means = layer.weight.double()
    distances = (x.to(dtype).double()[:, None] - means).pow(2).sum(-1)
    expected = 16 * (x.to(dtype).double().pow(2).sum(1, keepdim=True) - distances)
    assert layer.offset().min() < -65504
    torch.testing.assert_close(layer(x.to(dtype)).double(), expected, rtol=1e-4, atol=1.)


def test_class_means_that_are_not_finite_are_refused():
    layer, x = NCMLinear(4, 3), torch.randn(3, 4)
    x[1, 2] = float('inf')
    layer.add_samples(x, torch.arange(3))
    with pytest.raises(ValueError, match='but 1 of 3 classes have features that are nan or infinite, e.g. class 1'):
        layer.set_means()


@pytest.mark.parametrize('adjustment', [0., 1., 2.])
@pytest.mark.parametrize('alpha', [0., 1.5])
def test_de_confounded_classifier_is_adjusted(adjustment, alpha):
    plain, x, counts = DeconfoundLinear(8, 3, alpha=alpha), torch.randn(5, 8) + 1, [90, 9, 1]
    plain(x)
    plain.update_direction(0.9)
    layer = LogitAdjustedDeconfoundLinear(8, 3, alpha=alpha, adjustment=adjustment)
    missing = layer.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing == ['log_prior']
    torch.testing.assert_close(layer(x), plain(x))  # training
    if adjustment:
        with pytest.raises(RuntimeError, match='LogitAdjustedDeconfoundLinear needs the training images of each class'):
            layer.eval()(x)
    layer.set_class_counts(counts)
    expected = plain.eval()(x) - adjustment * (torch.tensor(counts) / 100).log()
    torch.testing.assert_close(layer.eval()(x), expected)
    with torch.no_grad():  # folded
        torch.testing.assert_close(layer(x), expected)


def test_a_classifier_without_bias_is_adjusted():
    layer, x = LogitAdjustedLinear(4, 2, bias=False), torch.randn(3, 4)
    layer.set_class_counts([3, 1])
    torch.testing.assert_close(layer.eval()(x), F.linear(x, layer.weight) - torch.tensor([3 / 4, 1 / 4]).log())


@pytest.mark.parametrize('layer', [LogitAdjustedLinear(4, 1), LogitAdjustedDeconfoundLinear(4, 1)])
def test_the_prior_of_a_single_class_is_one(layer):
    x = torch.randn(3, 4)
    torch.testing.assert_close(layer.eval()(x), layer.train()(x))
    layer.set_class_counts([7])
    torch.testing.assert_close(layer.eval()(x), layer.train()(x))


def test_defaults():
    assert NCMLinear(4, 3).tau == EuclideanNCMLinear(4, 3).tau == 16
    assert LogitAdjustedLinear(4, 3).tau == 1 and LogitAdjustedLinear(4, 3).bias is not None
    for layer in (NCMLinear, LogitAdjustedLinear):
        with pytest.raises(ValueError, match='^tau must be a number'):
            layer(4, 3, tau=-1)
    with pytest.raises(ValueError, match='^exponent must be a number'):
        TauNormLinear(4, 3, exponent=2)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_class_means_of_many_features_in_half_precision(dtype):
    layer = NCMLinear(2, 1, dtype=dtype)
    layer.add_samples(torch.full((5000, 2), 0.5, dtype=dtype), torch.zeros(5000).long())
    layer.set_means()
    assert layer.weight.dtype == dtype and layer.weight.tolist() == [[0.5, 0.5]]
