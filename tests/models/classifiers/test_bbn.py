"""The loss and the inference of BBN, against its equations."""
import pytest
import torch
from helpers.runners import bbn
from mmpretrain.structures import DataSample
from torch.nn import functional as F

from mmcausal.registry import MODELS


def test_bbn_loss_is_that_of_its_equations():
    model = MODELS.build(bbn()).train()
    images, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 9, 1, 8, 2, 7])
    samples = [DataSample().set_gt_label(label) for label in labels]
    model.conventional_share = share = 0.7
    torch.manual_seed(0)
    value = model.loss(images, samples)['loss']
    features = [twin(model.backbone.shared(images[i::2])).mean((2, 3)) for i, twin in enumerate(model.backbone.twins)]
    logits = model.head.fc(2 * torch.cat([share * features[0], (1 - share) * features[1]], 1))
    expected = share * F.cross_entropy(logits, labels[0::2]) + (1 - share) * F.cross_entropy(logits, labels[1::2])
    torch.testing.assert_close(value, expected)
    with pytest.raises(ValueError, match='needs pairs of images, but got 5'):
        model.loss(images[:5], samples[:5])
    for backbone in (dict(type='mmcausal.SmallConvNet'), dict(type='mmcausal.ResNet32', last_blocks=1)):
        with pytest.raises(ValueError, match='needs a backbone with twin blocks'):
            MODELS.build(dict(bbn(), backbone=dict(backbone, in_channels=1)))


def test_bbn_at_inference_is_half_of_each_branch():
    model = MODELS.build(bbn()).eval()
    image = torch.randn(2, 1, 8, 8)
    halves = [0.5 * twin(model.backbone.shared(image)).mean((2, 3)) for twin in model.backbone.twins]
    torch.testing.assert_close(model(image, mode='tensor'), model.head.fc(2 * torch.cat(halves, 1)))


def test_a_direction_is_estimated_on_the_features_of_a_prediction():
    """The tool runs the loss of a model in evaluation mode; the branches have equal shares then."""
    model = MODELS.build(dict(bbn(), head=dict(type='mmcausal.DeconfoundHead', num_classes=10, in_channels=128))).eval()
    image, layer = torch.randn(1, 1, 8, 8), model.head.fc.train()
    model.loss(torch.cat([image, image]), [DataSample().set_gt_label(0)] * 2)
    layer.update_direction(0.)
    torch.testing.assert_close(layer.mean_feature, model.extract_feat(image)[-1].squeeze(0))
    assert (layer.mean_feature.view(2, 64) > 0).any(1).all()


def test_maps_must_be_pooled():
    with pytest.raises(ValueError, match='BBNClassifier needs a neck that pools the features'):
        MODELS.build({key: value for key, value in bbn().items() if key != 'neck'})
