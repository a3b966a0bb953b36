"""Training steps on fake CUDA tensors, which know device, type and shape, but hold no values.

An operation on tensors of two devices raises, and so does whatever makes the host wait for a value of the device:
``.item()``, ``nonzero``, a mask as an index, an ``if``. No GPU is needed.
"""
import contextlib

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.utils import digit_version
from mmpretrain.structures import DataSample
from torch import nn
from torch._subclasses import fake_tensor

from mmcausal.hosts import is_usable
from mmcausal.models import layers, losses
from mmcausal.models.layers import DeconfoundLinear, DetectionDeconfoundLinear, TDELinear
from mmcausal.registry import MODELS

pytestmark = pytest.mark.skipif(digit_version(torch.__version__) < digit_version('2.6'),
                                reason='fake CUDA tensors of older PyTorch need a driver')

N, D, C = 8, 64, 10
COUNTS = [100, 90, 80, 70, 60, 50, 40, 30, 20, 10]
HALVES = [torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def fake_tensors(monkeypatch):
    """Make all tensors fake, as on a machine with a GPU."""
    monkeypatch.setattr(torch.cuda.amp.common, 'amp_definitely_not_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: True)
    init_default_scope('mmpretrain')
    with fake_tensor.FakeTensorMode(allow_non_fake_inputs=False):
        yield


def on_cuda(build):
    """Return the module that ``build()`` makes from real values, moved to the fake GPU."""
    with fake_tensor.unset_fake_temporarily():
        module = build().train()
    for submodule in module.modules():
        plain = [name for name, value in vars(submodule).items() if isinstance(value, torch.Tensor)]
        assert not plain, f'{plain} would stay behind when {type(submodule).__name__} moves'
        for tensors, wrap in (submodule._parameters, nn.Parameter), (submodule._buffers, lambda buffer: buffer):
            for name, value in tensors.items():
                if value is not None:
                    tensors[name] = wrap(torch.empty(value.shape, dtype=value.dtype, device='cuda'))
    return module


def features(*shape):
    return torch.randn(shape or (N, D), device='cuda', requires_grad=True)


def labels(count=N):
    return torch.zeros(count, dtype=torch.long, device='cuda')


def samples(count=N):
    return [DataSample().set_gt_label(labels(1)) for _ in range(count)]


def precision(dtype):
    return contextlib.nullcontext() if dtype is None else torch.autocast('cuda', dtype=dtype)


def test_mixed_devices_are_noticed():
    with pytest.raises(RuntimeError, match='found two different devices'):
        features() + torch.zeros(N, D)


@pytest.mark.parametrize('wait', [lambda x: x.item(), lambda x: bool(x), lambda x: x[None].nonzero(),
                                  lambda x: x[None][x[None] > 0], lambda x: x[None].long().bincount()])
def test_waiting_for_the_device_is_noticed(wait):
    with pytest.raises(RuntimeError):
        wait(torch.zeros((), device='cuda'))


def with_counts(build):
    """Return a function that builds a module and gives it class counts, if it takes any."""
    def build_and_count():
        module = build()
        if hasattr(module, 'set_class_counts'):
            module.set_class_counts(COUNTS)
        return module
    return build_and_count


LAYERS = {
    **{f'{name} K={heads}': lambda name=name, heads=heads: DeconfoundLinear(D, C, normalizer=name, num_heads=heads)
       for name in ('deconfound', 'capsule', 'cosine', 'linear') for heads in (1, 2)},
    'TDELinear with bias': lambda: TDELinear(D, C, bias=True),
    'TauNormLinear': lambda: layers.TauNormLinear(D, C),
    'LogitAdjustedLinear': with_counts(lambda: layers.LogitAdjustedLinear(D, C)),
    'LogitAdjustedDeconfoundLinear': with_counts(lambda: layers.LogitAdjustedDeconfoundLinear(D, C)),
}


@pytest.mark.parametrize('dtype', [None, *HALVES])
@pytest.mark.parametrize('name', LAYERS)
def test_layers(name, dtype):
    layer = on_cuda(LAYERS[name])
    for _ in range(2):
        with precision(dtype):
            logits = layer(features())
        layer.update_direction(0.9)
    assert (logits.device.type, logits.dtype, logits.shape) == ('cuda', torch.float32, (N, C))
    assert {buffer.device.type for buffer in layer.buffers()} == {'cuda'}
    assert layer.mean_feature.dtype == layer.mean_cosine.dtype == torch.float32


@pytest.mark.parametrize('dtype', HALVES)
def test_layers_in_half_precision(dtype):
    layer = on_cuda(lambda: DeconfoundLinear(D, C).to(dtype))
    assert layer(features().to(dtype)).dtype == torch.float32
    layer.update_direction(0.9)
    assert layer.mean_feature.dtype == torch.float32


@pytest.mark.parametrize('num_background', [1, 2])
def test_detection_layer(num_background):
    layer = on_cuda(lambda: DetectionDeconfoundLinear(D, C + num_background))
    layer.num_background = num_background
    with layer.observing(labels() == 0):
        layer(features())
    layer.update_direction(0.9)


@pytest.mark.parametrize('dtype', [None, *HALVES])
@pytest.mark.parametrize('exempt', [True, False])
def test_tde_inference(exempt, dtype, monkeypatch):
    """Apart from the value of alpha and the check of logits, which wait once in each forward pass."""
    monkeypatch.setattr(TDELinear, 'resolved_alpha', lambda layer: 1.5)
    monkeypatch.setattr(TDELinear, '_warn_of_meaningless', lambda layer, logits: None)
    for layer in (on_cuda(lambda: DeconfoundLinear(D, C)),
                  on_cuda(lambda: DetectionDeconfoundLinear(D, C, exempt_background=exempt))):
        layer.eval().alpha = 1.5
        with precision(dtype):
            scores = layer(features())
        assert (scores.device.type, scores.dtype) == ('cuda', torch.float32)


LOSSES = {
    'logit adjustment': losses.LogitAdjustedLoss,
    'LDAM': losses.LDAMLoss,
    'label-aware smoothing': losses.LabelAwareSmoothingLoss,
    'class-balanced': lambda: losses.ClassBalancedLoss(losses.SoftmaxFocalLoss()),
    'deferred': lambda: losses.DeferredReweightingLoss(losses.LDAMLoss()),
    'focal': losses.SoftmaxFocalLoss,
}


@pytest.mark.parametrize('name', LOSSES)
def test_losses(name):
    loss = on_cuda(with_counts(LOSSES[name]))
    for options in ({}, dict(weight=features(N)), dict(avg_factor=features(1)[0]), dict(reduction_override='none')):
        assert loss(features(N, C), labels(), **options).device.type == 'cuda'


def test_equalization_loss():
    loss = on_cuda(with_counts(lambda: losses.EqualizationLoss(ignore_prob=0.9)))
    assert loss(features(N, C + 1), labels(), weight=features(N)).device.type == 'cuda'


@pytest.mark.parametrize('name', [None, *LOSSES])
def test_heads(name):
    head = on_cuda(lambda: MODELS.build(dict(type='mmcausal.DeconfoundHead', num_classes=C, in_channels=D)))
    if name is not None:
        head.loss_module = on_cuda(with_counts(LOSSES[name]))
    assert {value.device.type for value in head.loss((features(), ), samples()).values()} == {'cuda'}


def test_oltr_head():
    head = on_cuda(lambda: MODELS.build(dict(type='mmcausal.OLTRHead', num_classes=C, in_channels=D, places=6)))
    head.memory.knows_means = True  # the first step asks
    found = head.loss((features(N, D, 2, 3), ), samples())
    assert {value.device.type for value in found.values()} == {'cuda'}


def test_class_means():
    for layer in (layers.NCMLinear, layers.EuclideanNCMLinear):
        memory = on_cuda(lambda layer=layer: layer(D, C))
        memory.add_samples(features(), labels())
        memory.knows_means = True
        assert memory(features()).device.type == 'cuda'


@pytest.mark.parametrize('backbone, options', [('ResNet32', {}), ('TwinResNeXt', dict(depth=50))])
def test_bbn(backbone, options):
    channels = 128 if backbone == 'ResNet32' else 4096
    model = on_cuda(lambda: MODELS.build(dict(
        type='mmcausal.BBNClassifier', backbone=dict(type=f'mmcausal.{backbone}', **options),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='mmcausal.DeconfoundHead', num_classes=C, in_channels=channels))))
    model.conventional_share = 0.7
    assert model.loss(features(4, 3, 32, 32), samples(4))['loss'].device.type == 'cuda'


class SampledProposals:
    """What a stage of a detector knows of its proposals in one image, as MMDetection's ``SamplingResult``."""

    def __init__(self, num_pos, num_neg):
        self.pos_gt_labels, self.neg_priors = labels(num_pos), features(num_neg, 4)


@pytest.mark.skipif(not is_usable('mmdet'), reason='needs MMDetection')
@pytest.mark.parametrize('dtype', [None, *HALVES])
def test_box_heads(dtype):
    from mmdet.models import Shared2FCBBoxHead

    from mmcausal.models.roi_heads.tde_roi_heads import (
        class_probs,
        class_scores,
        observing_foreground,
        set_classifier,
    )
    init_default_scope('mmdet')
    head = on_cuda(lambda: Shared2FCBBoxHead(in_channels=4, fc_out_channels=D, num_classes=C))
    set_classifier(head, on_cuda(lambda: DetectionDeconfoundLinear(D, C + 1)))
    with precision(dtype):
        with observing_foreground(head, [SampledProposals(3, 2), SampledProposals(0, 3)]):
            logits, _ = head(features(N, 4, 7, 7))
        head.fc_cls.update_direction(0.9)
        scores = class_scores(head, class_probs(head, logits))
    assert (scores.device.type, scores.shape) == ('cuda', (N, C + 1))


def test_crops_and_flips():
    preprocessor = MODELS.build(dict(type='mmcausal.CropFlipDataPreprocessor', mean=[1.] * 3, std=[2.] * 3))
    images = preprocessor._cropped_and_flipped(torch.zeros(N, 3, 32, 32, dtype=torch.uint8, device='cuda'))
    assert images.shape == (N, 3, 32, 32) and images.device.type == 'cuda' and images.dtype == torch.uint8
