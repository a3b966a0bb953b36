"""The product in blocks of classes, against the plain functions and PyTorch's own gradients of them."""
import pytest
import torch

from mmcausal import functional
from mmcausal.models import DeconfoundLinear
from mmcausal.models.layers import normalized_product
from mmcausal.models.layers.normalized_product import deconfounded_logits

KINDS = sorted(functional.NORMALIZERS)


@pytest.fixture(params=[1, 2 * 8, 5 * 8, 2**19], ids=['one class', 'two classes', 'five classes', 'all classes'])
def blocks(request, monkeypatch):
    monkeypatch.setitem(normalized_product.BLOCK_SIZES, 'cpu', request.param)


def both(x, weight, *hyperparameters):
    """Return logits and gradients of the product and of the plain function."""
    results = []
    for function in (deconfounded_logits, functional.deconfounded_logits):
        inputs = [each.detach().clone().requires_grad_(each.requires_grad) for each in (x, weight)]
        logits = function(*inputs, *hyperparameters)
        if logits.requires_grad:
            logits.backward(torch.randn(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits.dtype))
        results.append([logits.detach(), *(each.grad for each in inputs)])
    return results


def inputs(samples=5, classes=7, dtype=torch.double):
    x, weight = torch.randn(samples, 8, dtype=dtype) + 1, torch.randn(classes, 8, dtype=dtype)
    return x.requires_grad_(), weight.requires_grad_()


@pytest.mark.parametrize('num_heads', [1, 2, 4, 8])
@pytest.mark.parametrize('normalizer', KINDS)
def test_logits_and_gradients(normalizer, num_heads, blocks):
    ours, plain = both(*inputs(), num_heads, 16., 1 / 32, normalizer)
    torch.testing.assert_close(ours, plain, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize('normalizer', KINDS)
def test_zero_heads(normalizer, blocks):
    x, weight = inputs()
    with torch.no_grad():
        x[1] = x[2, :4] = weight[3] = weight[4, 4:] = 0
    ours, plain = both(x, weight, 2, 16., 1 / 32, normalizer)
    torch.testing.assert_close(ours, plain, atol=1e-10, rtol=1e-10)
    assert all(each.isfinite().all() for each in ours)


@pytest.mark.parametrize('samples, classes', [(0, 3), (1, 1), (3, 0)])
def test_few_samples_and_classes(samples, classes, blocks):
    ours, plain = both(*inputs(samples, classes), 2, 16., 1 / 32, 'deconfound')
    torch.testing.assert_close(ours, plain, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize('frozen', [0, 1])
def test_only_what_is_wanted_gets_a_gradient(frozen):
    pair = inputs()
    pair[frozen].requires_grad_(False)
    ours, plain = both(*pair, 2, 16., 1 / 32, 'deconfound')
    assert ours[1 + frozen] is None is plain[1 + frozen]
    torch.testing.assert_close(ours[2 - frozen], plain[2 - frozen], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize('normalizer', KINDS)
def test_gradients_of_gradients(normalizer):
    pair = inputs(3, 4)
    assert torch.autograd.gradcheck(lambda *pair: deconfounded_logits(*pair, 2, 2., 0.5, normalizer), pair)
    assert torch.autograd.gradgradcheck(lambda *pair: deconfounded_logits(*pair, 2, 2., 0.5, normalizer), pair)
    pair[0].requires_grad_(False)
    assert torch.autograd.gradgradcheck(lambda w: deconfounded_logits(pair[0], w, 2, 2., 0.5, normalizer), pair[1:])


@pytest.mark.parametrize('frozen', [None, 0, 1])
@pytest.mark.parametrize('normalizer', KINDS)
def test_a_gradient_that_can_be_differentiated_is_the_same(normalizer, frozen):
    pair = inputs()
    if frozen is not None:
        pair[frozen].requires_grad_(False)
    wanted = [each for each in pair if each.requires_grad]
    grads = [torch.autograd.grad(function(*pair, 2, 16., 1 / 32, normalizer).square().sum(), wanted, create_graph=True)
             for function in (deconfounded_logits, functional.deconfounded_logits)]
    torch.testing.assert_close(*grads, atol=1e-9, rtol=1e-9)


def test_a_head_of_many_channels(monkeypatch):
    """One class may be more than a block."""
    monkeypatch.setitem(normalized_product.BLOCK_SIZES, 'cpu', 7)
    ours, plain = both(*inputs(), 2, 16., 1 / 32, 'deconfound')
    torch.testing.assert_close(ours, plain, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.half])
def test_half_precision_is_computed_in_float32(dtype):
    x, weight = inputs(dtype=dtype)
    ours, plain = both(x, weight, 2, 16., 1 / 32, 'deconfound')
    assert ours[0].dtype == torch.float32 and ours[1].dtype == ours[2].dtype == dtype
    torch.testing.assert_close(ours, plain)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(deconfounded_logits(x, weight, 2, 16., 1 / 32, 'deconfound'), ours[0])


def test_a_normaliser_with_one_part(monkeypatch):
    monkeypatch.setitem(functional.NORMALIZERS, 'half',
                        functional.Normalizer(None, lambda length, gamma: length.sqrt(), ('num_heads', 'tau')))
    ours, plain = both(*inputs(), 2, 16., 1 / 32, 'half')
    torch.testing.assert_close(ours, plain, atol=1e-10, rtol=1e-10)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r'same number of channels D, but got \(5, 8\) and \(7, 6\)'):
        deconfounded_logits(torch.randn(5, 8), torch.randn(7, 6), 2, 16., 1 / 32, 'deconfound')
    with pytest.raises(ValueError, match='tau must be a number'):
        deconfounded_logits(*inputs(), 2, 0., 1 / 32, 'deconfound')


def test_lengths_alone_are_kept_for_the_backward_pass():
    layer, x = DeconfoundLinear(8, 100), torch.randn(5, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer.total_effect(x)
    own = (x.data_ptr(), layer.weight.data_ptr())
    assert sum(each.numel() for each in kept if each.data_ptr() not in own) == 2 * 5 + 2 * 100


@pytest.mark.parametrize('length', [1e-6, 1e-13, 1e-17])
@pytest.mark.parametrize('normalizer', ['cosine', 'capsule', 'deconfound'])
def test_gradients_of_short_features_and_weights(normalizer, length):
    """A factor of them with 1 / length^3 would overflow in single precision."""
    x, weight = torch.randn(3, 8) * length, torch.randn(4, 8) * length
    ours, plain = both(x.requires_grad_(), weight.requires_grad_(), 2, 16., 1 / 32, normalizer)
    assert all(each.isfinite().all() for each in plain + ours)
    for found, expected in zip(ours, plain):
        torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


def squares(function, x):
    return lambda weight: function(x, weight, 2, 16., 1 / 32, 'deconfound').square()


def test_transforms_of_torch_func():
    x, weight = (each.detach() for each in inputs())
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        found, expected = (transform(squares(function, x))(weight)
                           for function in (deconfounded_logits, functional.deconfounded_logits))
        torch.testing.assert_close(found, expected)
