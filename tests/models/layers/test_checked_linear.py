"""A classifier layer and a checkpoint of other classes."""
import copy

import pytest
import torch
from helpers.layers import trained_layer
from mmengine.runner.checkpoint import load_state_dict

from mmcausal.models import (
    DeconfoundLinear,
    DeployedClassifier,
    DetectionDeconfoundLinear,
    LogitAdjustedLinear,
    LWSLinear,
    NCMLinear,
    TauNormLinear,
    TDELinear,
)
from mmcausal.models.layers.checked_linear import CheckedLinear

SENTENCE = r'not one of this classifier: weight has shape \({}, 8\) here, but \(6, 8\) in the checkpoint. You can fine-'


@pytest.mark.parametrize('classes', [1, 4, 9])
@pytest.mark.parametrize('alpha', [0., 1., 'auto'])
def test_a_checkpoint_of_other_classes_is_left_out_until_training(classes, alpha):
    layer, x = DeconfoundLinear(8, classes, alpha=alpha).eval(), torch.randn(3, 8)
    before = copy.deepcopy(layer.state_dict())
    load_state_dict(layer, trained_layer().state_dict())  # as MMEngine's Runner and inferencers
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert not layer.mean_feature.any() and layer.num_updates == 0 and layer.mean_cosine == 0
    with pytest.raises(ValueError, match=SENTENCE.format(classes)):
        layer(x)
    layer.train()(x)
    layer.update_direction(0.9)
    assert layer.eval()(x).isfinite().all() and layer.num_updates == 1


def test_the_next_checkpoint_that_fits_ends_the_refusal():
    source, layer = trained_layer(), DeconfoundLinear(8, 6, alpha=1.).eval()
    load_state_dict(layer, DeconfoundLinear(8, 5).state_dict())
    load_state_dict(layer, {'backbone.weight': torch.zeros(3)})  # says nothing about this layer
    with pytest.raises(ValueError, match=r'weight has shape \(6, 8\) here, but \(5, 8\) in the checkpoint'):
        layer(torch.randn(3, 8))
    load_state_dict(layer, source.state_dict())
    assert torch.equal(layer.mean_feature, source.mean_feature)
    assert layer(torch.randn(3, 8)).isfinite().all()


def test_other_channels_and_the_state_of_a_trained_layer():
    layer, x = trained_layer(alpha=1.), torch.randn(3, 8)
    before = copy.deepcopy(layer.state_dict())
    load_state_dict(layer, DeconfoundLinear(10, 6).state_dict())
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    with pytest.raises(ValueError, match=r'weight has shape \(6, 8\) here, but \(6, 10\) .*; mean_feature has shape '):
        layer.eval()(x)
    with pytest.raises(RuntimeError, match='size mismatch for weight'):  # PyTorch's own, strict or not
        layer.load_state_dict(DeconfoundLinear(8, 5).state_dict(), strict=False)


def test_stock_weights_and_other_hyperparameters_fit():
    stock = torch.nn.Linear(8, 6, bias=False)
    layer = DeconfoundLinear(8, 6, num_heads=4, normalizer='capsule').eval()
    load_state_dict(layer, stock.state_dict())
    assert torch.equal(layer.weight, stock.weight) and layer(torch.randn(3, 8)).isfinite().all()
    load_state_dict(layer, trained_layer().state_dict())  # K = 2, another normaliser
    assert layer.mean_feature.any()


@pytest.mark.parametrize('source, layer, surplus', [
    (torch.nn.Linear(8, 6), DeconfoundLinear(8, 6), r'bias has shape \(6,\) in the checkpoint, but is not here'),
    (torch.nn.Linear(8, 6), TDELinear(8, 6), 'bias has shape'),
    (torch.nn.Linear(8, 6), DetectionDeconfoundLinear(8, 6), 'bias has shape'),
    (LWSLinear(8, 6), TDELinear(8, 6, bias=True), r'scale has shape \(6,\) in the checkpoint'),
    (LWSLinear(8, 6), DeconfoundLinear(8, 6), r'bias has shape \(6,\) .*; scale has shape \(6,\)'),
])
def test_class_weights_of_another_classifier_are_for_training_alone(source, layer, surplus):
    """They have the shape, but without their bias or their factors they give other logits."""
    load_state_dict(layer, source.state_dict())
    assert torch.equal(layer.weight, source.weight)
    with pytest.raises(ValueError, match=f'not one of this classifier: {surplus}.*You can fine-tune from it'):
        layer.eval()(torch.randn(3, 8))
    assert layer.train()(torch.randn(3, 8)).isfinite().all() and layer.eval()(torch.randn(3, 8)).isfinite().all()


@pytest.mark.parametrize('kind', [TauNormLinear, NCMLinear])
def test_second_stages_without_a_bias_take_a_classifier_with_one(kind):
    layer = kind(8, 6).eval()
    load_state_dict(layer, torch.nn.Linear(8, 6).state_dict())
    layer.check_loaded()


@pytest.mark.parametrize('kind', [TDELinear, LogitAdjustedLinear, LWSLinear, NCMLinear])
def test_every_layer_leaves_its_state_out_as_a_whole(kind):
    source = kind(8, 6)
    for value in source.state_dict().values():
        value.fill_(1)
    layer = kind(8, 5)
    before = copy.deepcopy(layer.state_dict())
    load_state_dict(layer, source.state_dict())  # an NCMLinear has no means, whatever the checkpoint says
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    with pytest.raises(ValueError, match=r'weight has shape \(5, 8\) here, but \(6, 8\) .*You can fine-tune'):
        layer.eval()(torch.randn(3, 8))


def test_class_means_provide_the_weights():
    layer = NCMLinear(8, 5)
    load_state_dict(layer, TDELinear(8, 6).state_dict())
    layer.add_samples(torch.randn(5, 8), torch.arange(5))
    layer.set_means()
    assert layer.eval()(torch.randn(3, 8)).shape == (3, 5)


def test_it_is_not_deployed():
    classifier = torch.nn.Module()
    classifier.head = torch.nn.Module()
    classifier.head.fc = trained_layer()
    classifier.backbone = classifier.neck = classifier.data_preprocessor = None
    assert DeployedClassifier(classifier)
    load_state_dict(classifier, {'head.fc.weight': torch.zeros(5, 8)})
    with pytest.raises(ValueError, match=r'head.fc.weight has shape \(6, 8\) here, but \(5, 8\) in the checkpoint'):
        DeployedClassifier(classifier)


@pytest.mark.parametrize('size', ['in_features', 'out_features'])
def test_sizes_are_named_and_the_bias_is_that_of_a_linear_layer(size):
    with pytest.raises(ValueError, match=f'^{size} must be an integer of at least 1, but got 0'):
        CheckedLinear(**{**dict(in_features=8, out_features=6), size: 0})
    assert list(CheckedLinear(1, 1).state_dict()) == ['weight', 'bias']
