"""The equations of the paper against loops over floats."""
import inspect
import itertools
import math
from contextlib import nullcontext

import pytest
import torch
from helpers import oracle

from mmcausal import functional

KINDS = sorted(functional.NORMALIZERS)


def make(n=5, d=8, c=6, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator).to(dtype) for shape in ((n, d), (c, d), (d, ))]


@pytest.mark.parametrize('num_heads, kind, alpha', list(itertools.product((1, 2, 4), KINDS, (0., 1., 2.5))))
def test_logits_equal_the_oracle(num_heads, kind, alpha):
    x, weight, mean = make()
    args = dict(num_heads=num_heads, tau=9., gamma=0.3)
    expected = torch.tensor(oracle.tde_logits(x.tolist(), weight.tolist(), mean.tolist(), alpha, kind=kind, **args))
    factual = torch.tensor(oracle.tde_logits(x.tolist(), weight.tolist(), mean.tolist(), 0., kind=kind, **args))
    tde = functional.total_direct_effect(x, weight, mean, alpha, normalizer=kind, **args)
    torch.testing.assert_close(tde, expected, atol=1e-5, rtol=1e-5)
    logits = functional.deconfounded_logits(x, weight, normalizer=kind, **args)
    torch.testing.assert_close(logits, factual, atol=1e-5, rtol=1e-5)
    effect = functional.head_effect(x, weight, mean, normalizer=kind, **args)
    torch.testing.assert_close(logits - alpha * effect, expected, atol=1e-5, rtol=1e-5)


def test_pinned_value():
    # K = 2, one channel a head: cos = sign, so z = 16/2 * (3/(3 + 1/32) - 1/(1 + 1/32))
    logits = functional.deconfounded_logits(torch.tensor([[2., -5.]]), torch.tensor([[3., 1.]]))
    assert logits.item() == pytest.approx(8 * (3 / (3 + 1 / 32) - 1 / (1 + 1 / 32)), abs=1e-5)


def test_alpha_one_leaves_nothing_along_the_direction():
    x, weight, mean = make()
    moved = x + 3 * functional.head_direction(mean, 1)
    args = dict(alpha=1., num_heads=1, normalizer='linear')
    torch.testing.assert_close(
        functional.total_direct_effect(moved, weight, mean, **args),
        functional.total_direct_effect(x, weight, mean, **args),
        atol=1e-4,
        rtol=1e-4)


def test_head_direction_has_unit_heads_and_stays_zero():
    _, _, mean = make()
    torch.testing.assert_close(functional.head_direction(mean, 4).view(4, 2).norm(dim=1), torch.ones(4))
    mean[:2] = 0
    direction = functional.head_direction(mean, 4).view(4, 2)
    assert direction[0].tolist() == [0, 0] and direction[1].norm() == pytest.approx(1)


def test_mean_cosine_equals_the_oracle():
    x, _, mean = make()
    cosines = [
        oracle.dot(xk, dk) / oracle.norm(xk) for row in x.tolist()
        for xk, dk in zip(oracle.heads(row, 2), oracle.direction(mean.tolist(), 2))
    ]
    assert functional.mean_cosine(x, mean, 2).item() == pytest.approx(sum(cosines) / len(cosines), abs=1e-6)
    assert functional.mean_cosine(x[:0], mean, 2).item() == 0


@pytest.mark.parametrize('background', (-1, 0, 3, 6, -7))
def test_background_exempt_equals_the_oracle(background):
    logits, tde = torch.randn(4, 7), 3 * torch.randn(4, 7)
    log_probs = functional.background_exempt(logits, tde, background)
    expected = [oracle.exempted_probs(z, t, background) for z, t in zip(logits.tolist(), tde.tolist())]
    torch.testing.assert_close(log_probs.exp(), torch.tensor(expected), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(log_probs.softmax(-1), log_probs.exp())


@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-6), (torch.float16, 1e-4)])
def test_background_exempt_in_other_precisions(dtype, tolerance):
    logits, tde = (3 * torch.randn(50, 7)).to(dtype), (3 * torch.randn(50, 7)).to(dtype)
    probs = functional.background_exempt(logits, tde).exp()
    expected = torch.tensor([oracle.exempted_probs(z, t, -1) for z, t in zip(logits.tolist(), tde.tolist())],
                            dtype=probs.dtype)
    assert probs.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(probs, expected, atol=tolerance, rtol=0)
    background = logits.to(probs.dtype).softmax(-1)[:, -1]
    torch.testing.assert_close(probs[:, -1], background, atol=1e-6, rtol=0)  # TDE leaves it


@pytest.mark.parametrize('normalizer', sorted(functional.NORMALIZERS))
def test_both_effects_from_one_normalisation(normalizer):
    x, weight, mean = torch.randn(5, 8), torch.randn(3, 8), torch.rand(8)
    total, head = functional.effects(x, weight, mean, normalizer=normalizer)
    torch.testing.assert_close(total, functional.deconfounded_logits(x, weight, normalizer=normalizer))
    torch.testing.assert_close(head, functional.head_effect(x, weight, mean, normalizer=normalizer))


@pytest.mark.parametrize('background_logit', (-200., 200.))
def test_background_exempt_is_finite_at_certainty(background_logit):
    logits = torch.tensor([[0., 1., background_logit]])
    log_probs = functional.background_exempt(logits, logits.flip(-1))
    assert log_probs.isfinite().all()
    assert log_probs.exp().sum().item() == pytest.approx(1)


@pytest.mark.parametrize('kind', KINDS)
def test_degenerate_input_is_finite_with_finite_gradients(kind):
    x, weight, mean = make()
    x[0] = 0
    x[1, :4] = 0
    weight[2] = 0
    x.requires_grad_()
    weight.requires_grad_()
    for direction in (mean, torch.zeros_like(mean)):
        logits = functional.total_direct_effect(x, weight, direction, 1.5, gamma=0., normalizer=kind)
        assert logits.isfinite().all() and not logits[0].any()
        gradients = torch.autograd.grad(logits.square().sum() + logits.sum(), (x, weight))
        assert all(gradient.abs().max() < 1e6 for gradient in gradients)
    assert functional.total_direct_effect(x[:0], weight, mean, 1.5, normalizer=kind).shape == (0, 6)
    assert functional.background_exempt(torch.zeros(0, 7), torch.zeros(0, 7)).shape == (0, 7)


@pytest.mark.parametrize('kind, dtype', list(itertools.product(KINDS, (torch.float16, torch.bfloat16))))
def test_half_precision_is_computed_in_float32(kind, dtype):
    x, weight, mean = make(dtype=dtype)
    x = 200 * x  # the square of its length overflows float16
    half = functional.total_direct_effect(x, weight, mean, 1.5, normalizer=kind)
    full = functional.total_direct_effect(x.float(), weight.float(), mean.float(), 1.5, normalizer=kind)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(functional.total_direct_effect(x, weight, mean, 1.5, normalizer=kind), half)


def test_double_precision_stays():
    x, weight, mean = make(dtype=torch.float64)
    assert functional.total_direct_effect(x, weight, mean, 1.).dtype == torch.float64
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: functional.total_direct_effect(x, weight, mean, 1.5), x)


def test_moving_average_has_the_direction_of_the_papers_sum():
    bounded, paper = torch.zeros(8), torch.zeros(8)
    for seed in range(20):
        batch_mean = make(seed=seed)[2]
        bounded = functional.update_moving_average(bounded, batch_mean, 0.9)
        paper = 0.9 * paper + batch_mean
    torch.testing.assert_close(functional.head_direction(bounded), functional.head_direction(paper))


@pytest.mark.parametrize('change, words', [
    (dict(num_heads=3), '8 channels do not split into 3'),
    (dict(num_heads=0), 'num_heads must be an integer of at least 1, but got 0'),
    (dict(tau=-1.), r'tau must be a number in \(0, inf\), but got -1.0'),
    (dict(tau=math.nan), 'tau must be'), (dict(tau='16'), r"tau must be a number in \(0, inf\), but got '16'"),
    (dict(gamma=-0.1), r'gamma must be a number in \[0, inf\), but got -0.1'),
    (dict(normalizer='euclid'), "normalizer must be one of .*, but got 'euclid'"),
])
def test_bad_hyperparameters(change, words):
    x, weight, _ = make()
    with pytest.raises(ValueError, match=words):
        functional.deconfounded_logits(x, weight, **change)


def test_bad_tensors_and_momentum():
    x, weight, mean = make()
    with pytest.raises(ValueError, match='same number of channels'):
        functional.deconfounded_logits(x, weight[:, :4])
    for momentum in (1., -0.1, math.nan):
        with pytest.raises(ValueError, match='^momentum must be a number in'):
            functional.update_moving_average(mean, mean, momentum)
    for classes, background in ((1, 0), (5, 5), (5, -6)):
        with pytest.raises(ValueError, match='background must be'):
            functional.background_exempt(torch.zeros(2, classes), torch.zeros(2, classes), background)
    for bad in (mean[:1], mean[:4], mean[None]):
        for function in (functional.head_effect, functional.effects):
            with pytest.raises(ValueError, match='mean_feature must have one value for each of 8 channels'):
                function(x, weight, bad, num_heads=1)
        with pytest.raises(ValueError, match='mean_feature must have one value for each of 8 channels'):
            functional.mean_cosine(x, bad, num_heads=1)
    for alpha in (math.nan, math.inf, '1.5', True):
        with pytest.raises(ValueError, match='^alpha must be a finite number'):
            functional.total_direct_effect(x, weight, mean, alpha)
        with pytest.raises(ValueError, match='^alpha must be a finite number'):
            functional.folded_weight(weight, mean, alpha)
    with pytest.raises(ValueError, match='one shape'):
        functional.background_exempt(torch.zeros(2, 3), torch.zeros(2, 4))


def test_default_arguments_are_the_papers():
    assert functional.Hyperparameters() == (2, 16., 1 / 32, 'deconfound')
    defaults = functional.Hyperparameters()._asdict()
    for name in functional.__all__:
        if name[0].islower():
            parameters = inspect.signature(getattr(functional, name)).parameters
            for argument, default in defaults.items():
                given = parameters[argument].default if argument in parameters else default
                assert given == default or name == 'check_hyperparameters'
    assert inspect.signature(functional.background_exempt).parameters['background'].default == -1


def test_acting_hyperparameters_of_each_normalizer():
    assert {name: each.parameters for name, each in functional.NORMALIZERS.items()} == dict(
        linear=('num_heads', ), cosine=('num_heads', 'tau'), capsule=('num_heads', 'tau'),
        deconfound=('num_heads', 'tau', 'gamma'))


@pytest.mark.parametrize('change, words', [
    (dict(num_heads=True), 'num_heads must be an integer of at least 1, but got True'),
    (dict(num_heads=2.), 'num_heads must be an integer of at least 1, but got 2.0'),
    (dict(num_heads=3), 'num_heads must divide the number of feature channels, but 8 channels'),
    (dict(tau=0), r'tau must be a number in \(0, inf\), but got 0'),
    (dict(tau=math.inf), r'tau must be a number in \(0, inf\), but got inf'),
    (dict(gamma=math.nan), r'gamma must be a number in \[0, inf\), but got nan'),
    (dict(normalizer=None), 'normalizer must be one of .*, but got None'),
])
def test_every_function_checks_its_hyperparameters(change, words):
    x, weight, mean = make()
    arguments = dict(x=x, weight=weight, mean_feature=mean, alpha=1.)
    checked = set()
    for name in functional.__all__:
        function = getattr(functional, name)
        parameters = inspect.signature(function).parameters if name[0].islower() else {}
        if set(change) <= set(parameters) and name != 'check_hyperparameters':
            given = {key: value for key, value in arguments.items() if key in parameters}
            with pytest.raises(ValueError, match=f'^{words}'):
                function(**given, **change)
            checked.add(name)
    assert {'deconfounded_logits', 'head_effect', 'effects', 'total_direct_effect', 'folded_weight'} <= checked or set(
        change) <= {'num_heads', 'normalizer'} and 'normalized_features' in checked


def test_no_channels_are_no_heads():
    with pytest.raises(ValueError, match='0 channels do not split into 2 equal heads'):
        functional.unit_heads(torch.zeros(3, 0))


@pytest.mark.parametrize('name', [name for name in functional.__all__ if name[0].islower()])
def test_lists_and_arrays_are_no_tensors(name):
    function = getattr(functional, name)
    tensors = [argument for argument, parameter in inspect.signature(function).parameters.items()
               if parameter.annotation is torch.Tensor]
    given = dict(x=torch.ones(2, 8), weight=torch.ones(3, 8), mean_feature=torch.ones(8), batch_mean=torch.ones(8),
                 logits=torch.ones(2, 3), tde_logits=torch.ones(2, 3), alpha=1., momentum=0.5)
    given = {key: value for key, value in given.items() if key in inspect.signature(function).parameters}
    assert tensors or name == 'check_hyperparameters'
    for argument in tensors:
        with pytest.raises(ValueError, match=rf'{argument} must be a tensor, but got \[\[1.0\]\]'):
            function(**{**given, argument: [[1.]]})


@pytest.mark.parametrize('shapes', [((8, ), (3, 8)), ((2, 5, 8), (3, 8)), ((2, 8), (8, )), ((2, 8), (1, 3, 8)),
                                    ((2, 8), (3, 4))])
def test_features_and_weights_are_matrices(shapes):
    x, weight = (torch.ones(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r'must have shapes \(N, D\) and \(C, D\) .*, but got') as error:
        functional.total_direct_effect(x, weight, torch.ones(8), 1.)
    assert all(str(shape) in str(error.value) for shape in shapes)


def test_background_and_average_of_other_kinds():
    for background in (True, 1.5, None, '1'):
        with pytest.raises(ValueError, match=f'background must be .*, but got {background!r} of 3'):
            functional.background_exempt(torch.zeros(2, 3), torch.zeros(2, 3), background)
    with pytest.raises(ValueError, match='at least two classes, but got -1 of 0'):
        functional.background_exempt(torch.tensor(1.), torch.tensor(1.))
    with pytest.raises(ValueError, match=r'must have one shape, but got \(8,\) and \(1,\)'):
        functional.update_moving_average(torch.zeros(8), torch.zeros(1), 0.9)


def test_no_autocast_inside():
    x, weight, mean = make()
    full, cosine = functional.folded_weight(weight, mean, 1.), functional.mean_cosine(x, mean)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(functional.folded_weight(weight, mean, 1.), full)
        assert torch.equal(functional.folded_weight(weight=weight, mean_feature=mean, alpha=1.), full)
        assert torch.equal(functional.mean_cosine(x, mean), cosine)
        assert (x @ weight.t()).dtype == torch.bfloat16  # autocast goes on


def test_autocast_is_that_of_the_tensors_device(monkeypatch):
    devices = []
    monkeypatch.setattr(functional, 'without_autocast', lambda device: devices.append(device.type) or nullcontext())
    functional.unit_heads(torch.ones(2, 4, device='meta'))
    functional.unit_heads(num_heads=1, x=torch.ones(2, 4, device='meta'))
    assert set(devices) == {'meta'}
    with pytest.raises(TypeError, match='missing 1 required positional argument'):
        functional.normalized_features(num_heads=1)


@pytest.mark.filterwarnings('ignore')  # there may be no such device
@pytest.mark.parametrize('device, has_autocast', [('cpu', True), ('cuda', True), ('meta', False)])
def test_devices_with_autocast(device, has_autocast):
    assert isinstance(functional.without_autocast(torch.device(device)), torch.autocast) == has_autocast


@pytest.mark.parametrize('num_heads', [1, 2, 4])
def test_sums_of_heads(num_heads):
    x = torch.randn(5, 8)
    x[1, :2] = 0
    sums = torch.zeros(2, 8).tolist()
    for row in x.tolist():
        for k, head in enumerate(oracle.heads(row, num_heads)):
            for d, value in enumerate(head, k * len(head)):
                sums[0][d] += value
                sums[1][d] += value / (oracle.norm(head) or 1)
    torch.testing.assert_close(functional.sums_of_heads(x, num_heads), torch.tensor(sums))
    assert torch.equal(functional.sums_of_heads(x[:0], num_heads), torch.zeros(2, 8))
    assert torch.equal(functional.sums_of_heads(x), functional.sums_of_heads(x, 2))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        torch.testing.assert_close(functional.sums_of_heads(x, num_heads), torch.tensor(sums))
