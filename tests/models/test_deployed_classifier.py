"""Classifiers with TDE folded into their weights."""
import pytest
import torch
from mmengine.registry import init_default_scope

from mmcausal import functional
from mmcausal.models import DeconfoundLinear, enable_tde
from mmcausal.models.deployed_classifier import DeployedClassifier
from mmcausal.models.layers.folded_linear import FoldedLinear
from mmcausal.registry import MODELS


@pytest.mark.parametrize('kind', sorted(functional.NORMALIZERS))
@pytest.mark.parametrize('num_heads, bias', [(1, True), (4, False)])
def test_folding_changes_nothing(kind, num_heads, bias):
    layer = DeconfoundLinear(8, 5, num_heads=num_heads, normalizer=kind, bias=bias, alpha=1.5)
    layer(torch.randn(9, 8) + 1)
    layer.update_direction(0.)
    layer.eval()
    x = torch.randn(6, 8)
    x[0] = 0
    torch.testing.assert_close(FoldedLinear(layer)(x), layer(x), atol=1e-5, rtol=1e-5)
    layer.alpha = 0.
    torch.testing.assert_close(FoldedLinear(layer)(x), layer(x), atol=1e-5, rtol=1e-5)


def digits_classifier(head):
    init_default_scope('mmpretrain')
    return MODELS.build(dict(
        type='ImageClassifier', backbone=dict(type='mmcausal.SmallConvNet', in_channels=1),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(num_classes=10, in_channels=256, loss=dict(type='CrossEntropyLoss'), **head),
        data_preprocessor=dict(mean=[127.5], std=[60.], to_rgb=False)))


def test_images_in_logits_out():
    classifier = digits_classifier(dict(type='mmcausal.DeconfoundHead', alpha=1.))
    images = torch.randint(0, 256, (3, 1, 8, 8)).float()
    classifier.head.fc(torch.rand(4, 256))
    classifier.head.fc.update_direction(0.)
    classifier.eval()
    expected = classifier((images - 127.5) / 60, mode='tensor')
    torch.testing.assert_close(DeployedClassifier(classifier)(images), expected, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_deployed_is_refused():
    with pytest.raises(ValueError, match='head.fc must be a TDELinear, but got a Linear'):
        DeployedClassifier(digits_classifier(dict(type='LinearClsHead')))
    with pytest.raises(RuntimeError, match='HeadDirectionHook'):
        DeployedClassifier(digits_classifier(dict(type='mmcausal.DeconfoundHead', alpha=1.)))
    stock = digits_classifier(dict(type='LinearClsHead'))
    enable_tde(stock, 0.)
    assert DeployedClassifier(stock.eval())(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_the_classifier_may_have_another_name():
    classifier = digits_classifier(dict(type='VisionTransformerClsHead'))
    torch.nn.init.normal_(classifier.head.layers.head.weight)
    layer = enable_tde(classifier.eval(), 1., 'head.layers.head')
    layer.observe(torch.rand(4, 256))
    layer.update_direction(0.)
    images = torch.randint(0, 256, (3, 1, 8, 8)).float()
    expected = classifier((images - 127.5) / 60, mode='tensor')
    deployed = DeployedClassifier(classifier, 'head.layers.head')
    torch.testing.assert_close(deployed(images), expected, atol=1e-4, rtol=1e-4)
    assert classifier.head.layers.head is layer
    with pytest.raises(ValueError, match="'head.fc' is not a layer of .*; use classifier='head.layers.head'"):
        DeployedClassifier(classifier)
