"""Layers in compilers and exporters."""
import io
import warnings

import numpy as np
import onnxruntime
import pytest
import torch

from mmcausal.class_prior import TakesClassCounts
from mmcausal.models import layers
from mmcausal.models.layers import (
    DeconfoundLinear,
    DetectionDeconfoundLinear,
    decoupled_linears,
    logit_adjusted_linears,
    normalized_product,
    tde_linear,
)

IS_MODERN = tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 4)
needs_compiler = pytest.mark.skipif(not IS_MODERN, reason='torch.compile and torch.export need PyTorch 2.4')
CASES = {
    **{f'{name} K={heads} alpha={alpha}': lambda name=name, heads=heads, alpha=alpha: DeconfoundLinear(
        16, 6, normalizer=name, num_heads=heads, alpha=alpha)
       for name in ('deconfound', 'cosine', 'capsule', 'linear') for heads in (1, 4) for alpha in (0., 1.5, 'auto')},
    'linear with bias': lambda: layers.TDELinear(16, 6, bias=True, alpha=1.),
    'tau-norm': lambda: layers.TauNormLinear(16, 6, alpha=1.),
    'LWS': lambda: layers.LWSLinear(16, 6, alpha=1.),
    'NCM': lambda: layers.NCMLinear(16, 6, alpha=1.),
    'Euclidean NCM': lambda: layers.EuclideanNCMLinear(16, 6, alpha=1.),
    'logit adjustment': lambda: layers.LogitAdjustedLinear(16, 6, alpha=1.),
    'logit adjustment of de-confound': lambda: layers.LogitAdjustedDeconfoundLinear(16, 6, alpha=1.),
    **{f'detector alpha={alpha} exempt={exempt}': lambda alpha=alpha, exempt=exempt: DetectionDeconfoundLinear(
        16, 6, alpha=alpha, exempt_background=exempt) for alpha in (0., 1.5, 'auto') for exempt in (True, False)},
}
every_case = pytest.mark.parametrize('name', CASES)


def trained(name):
    torch.manual_seed(0)
    layer = CASES[name]()
    if isinstance(layer, TakesClassCounts):
        layer.set_class_counts(list(range(1, 7)))
    if isinstance(layer, layers.NCMLinear):
        layer.add_samples(torch.randn(12, 16), torch.arange(12) % 6)
        layer.set_means()
    layer.observe(torch.randn(9, 16) + 1)
    layer.update_direction(0.)
    return layer.eval()


def check(layer, other):
    x = torch.randn(3, 16)  # not the batch that was recorded
    with torch.no_grad():
        torch.testing.assert_close(other(x), layer(x), atol=1e-5, rtol=1e-5)


@every_case
def test_trace(name):
    layer = trained(name)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        check(layer, torch.jit.trace(layer, torch.randn(8, 16)))


def test_onnx_with_a_direction_of_negative_features():
    layer = trained('deconfound K=4 alpha=1.5')
    layer.mean_feature.abs_().neg_()
    check(layer, to_onnx(layer))


def to_onnx(layer, opset=17):
    file = io.BytesIO()
    options = dict(dynamo=False) if IS_MODERN else {}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(layer, (torch.randn(8, 16), ), file, input_names=['x'], dynamic_axes=dict(x={0: 'n'}),
                          opset_version=opset, **options)
    session = onnxruntime.InferenceSession(file.getvalue())
    return lambda x: torch.from_numpy(session.run(None, dict(x=np.asarray(x)))[0])


@every_case
@pytest.mark.parametrize('opset', [11, 17])  # MMDeploy's, and that of our own tool
def test_onnx(name, opset):
    layer = trained(name)
    check(layer, to_onnx(layer, opset))


@needs_compiler
@every_case
def test_export(name):
    layer = trained(name)
    program = torch.export.export(layer, (torch.randn(8, 16), ), dynamic_shapes=({0: torch.export.Dim('n')}, ))
    check(layer, program.module())


def counting_backend():
    from torch._dynamo.testing import CompileCounter
    torch._dynamo.reset()
    return CompileCounter()


@needs_compiler
@every_case
def test_compiled_evaluation(name):
    layer, counter = trained(name), counting_backend()
    compiled = torch.compile(layer, fullgraph=True, backend=counter)
    for _ in range(3):
        x = torch.randn(8, 16)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), layer(x), atol=1e-5, rtol=1e-5)
    assert counter.frame_count == 1


@needs_compiler
@every_case
def test_compiled_training(name):
    """The whole loop, with the direction's update outside of the graph: one graph, and the averages of eager code."""
    compiled_layer, layer = trained(name).train(), trained(name).train()
    for each in (compiled_layer, layer):
        if isinstance(each, layers.LWSLinear):
            each.is_loaded = True
    counter = counting_backend()
    compiled = torch.compile(compiled_layer, fullgraph=True, backend=counter)
    for seed in range(4):
        for each, function in ((compiled_layer, compiled), (layer, layer)):
            torch.manual_seed(seed)
            x = torch.randn(8, 16, requires_grad=True)
            is_foreground = torch.arange(8) < 5
            if isinstance(each, DetectionDeconfoundLinear):
                with each.observing(is_foreground):
                    logits = function(x)
            else:
                logits = function(x)
            logits.square().sum().backward()
            each.update_direction(0.9)
    assert counter.frame_count == 1
    for expected, found in zip(layer.state_dict().values(), compiled_layer.state_dict().values()):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for expected, found in zip(layer.parameters(), compiled_layer.parameters()):
        torch.testing.assert_close(found.grad, expected.grad, atol=1e-4, rtol=1e-4)


@needs_compiler
def test_compiled_by_inductor():
    torch._dynamo.reset()
    layer, plain = trained('deconfound K=4 alpha=1.5').train(), trained('deconfound K=4 alpha=1.5').train()
    x = torch.randn(8, 16)
    compiled = torch.compile(layer, fullgraph=True)
    torch.testing.assert_close(compiled(x), plain(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.observed, plain.observed, atol=1e-4, rtol=1e-4)
    layer.eval(), plain.eval()
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), plain(x), atol=1e-5, rtol=1e-5)


def test_a_trace_refuses_what_evaluation_refuses():
    layer, x = DeconfoundLinear(16, 6, alpha=1.).eval(), torch.randn(8, 16)
    with pytest.raises(RuntimeError, match='needs the head direction of the training features'):
        torch.jit.trace(layer, x)
    layer = trained('deconfound K=4 alpha=auto')
    layer.mean_cosine.fill_(-0.5)
    with pytest.raises(RuntimeError, match="alpha='auto' needs a positive mean cosine"):
        torch.jit.trace(layer, x)


SPOILT = pytest.mark.parametrize('name, spoil', [
    ('deconfound K=4 alpha=1.5', lambda layer: layer.reset_direction()),
    ('deconfound K=4 alpha=1.5', lambda layer: layer.mean_feature[3:4].fill_(torch.inf)),
    ('deconfound K=4 alpha=auto', lambda layer: layer.mean_cosine.fill_(-0.5)),
    ('deconfound K=4 alpha=auto', lambda layer: layer.mean_cosine.fill_(0.)),
    ('deconfound K=4 alpha=auto', lambda layer: layer.mean_cosine.fill_(torch.inf)),
    ('deconfound K=4 alpha=auto', lambda layer: layer.mean_cosine.fill_(torch.nan)),
    ('logit adjustment', lambda layer: layer.log_prior.zero_()),
    ('logit adjustment of de-confound', lambda layer: layer.log_prior.zero_()),
    ('NCM', lambda layer: layer.has_means.fill_(False)),
])


@SPOILT
def test_what_a_graph_computes_is_nan_where_evaluation_raises(name, spoil, monkeypatch):
    for module in (tde_linear, decoupled_linears, logit_adjusted_linears, normalized_product):
        monkeypatch.setattr(module, 'is_traced', lambda: True)
    layer, x = trained(name), torch.randn(4, 16)
    with torch.no_grad():
        logits = layer(x)
        assert logits.isfinite().all()
        monkeypatch.undo()
        torch.testing.assert_close(logits, layer(x), atol=1e-5, rtol=1e-5)
        for module in (tde_linear, decoupled_linears, logit_adjusted_linears, normalized_product):
            monkeypatch.setattr(module, 'is_traced', lambda: True)
        spoil(layer)
        assert layer(x).isnan().all()


@needs_compiler
@SPOILT
def test_a_graph_yields_nan_where_evaluation_raises(name, spoil):
    """Values are not known to a compiler, so it cannot raise; but nothing that looks like a prediction comes out."""
    layer = trained(name)
    spoil(layer)
    program = torch.export.export(layer, (torch.randn(8, 16), ))
    assert program.module()(torch.randn(8, 16)).isnan().all()
