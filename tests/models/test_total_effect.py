"""Total effect beside TDE in the predictions of classifiers, against the same classifiers with alpha = 0."""
from types import SimpleNamespace

import pytest
import torch
from helpers.detectors import predict, small_detector, with_direction
from mmengine.registry import init_default_scope
from mmpretrain.models import LinearClsHead
from mmpretrain.registry import MODELS as HOST_MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mmcausal.models import DeconfoundLinear, TDEClassifierTTA, TDELinear, enable_tde
from mmcausal.models.total_effect import TotalEffectRecorder
from mmcausal.registry import MODELS

CHANNELS, CLASSES = 8, 5


class Backbone(nn.Module):
    """Pass features through, and count the passes."""

    def __init__(self):
        super().__init__()
        self.passes = 0

    def forward(self, inputs):
        self.passes += 1
        return (inputs, )


class OwnHead(LinearClsHead):
    """A head that is not derived from one of this package, and scales its logits."""

    def __init__(self, **kwargs):
        super().__init__(CLASSES, CHANNELS, **kwargs)
        self.fc = DeconfoundLinear(CHANNELS, CLASSES)

    def forward(self, feats):
        return 3 * super().forward(feats)


class WithoutHead(nn.Module):
    """A model that predicts by itself, such as MMPretrain's wrapper of timm."""

    def __init__(self):
        super().__init__()
        self.fc = DeconfoundLinear(CHANNELS, CLASSES)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        scores = self.fc(inputs).softmax(-1)
        return [DataSample().set_pred_score(score) for score in scores] if mode == 'predict' else scores


def classifier_with(head):
    init_default_scope('mmpretrain')
    if not isinstance(head, nn.Module):
        head = HOST_MODELS.build(dict(head, num_classes=CLASSES, in_channels=CHANNELS))
    return HOST_MODELS.build(dict(type='ImageClassifier', backbone=Backbone(), head=head))


def give_direction(model, alpha):
    for layer in model.modules():
        if isinstance(layer, TDELinear):
            layer.mean_feature.copy_(torch.linspace(1, 2, CHANNELS))
            layer.alpha = alpha
    return model.eval()


HEADS = [dict(type='mmcausal.DeconfoundHead'), dict(type='mmcausal.ClassifierHead', classifier=dict(
    type='mmcausal.DeconfoundLinear', normalizer='cosine')), OwnHead()]


@pytest.mark.parametrize('head', HEADS, ids=lambda head: head['type'] if isinstance(head, dict) else 'own head')
def test_both_effects_from_one_pass_of_the_network(head):
    model, x = give_direction(classifier_with(head), alpha=2.), torch.randn(6, CHANNELS) + 0.5
    tde = model(x, mode='predict')
    recorder = TotalEffectRecorder(model)
    model.backbone.passes = 0
    both = model(x, mode='predict')
    assert model.backbone.passes == 1 and model.head.fc.alpha == 2.
    recorder.remove()
    give_direction(model, alpha=0.)
    for sample, by_tde, by_total_effect in zip(both, tde, model(x, mode='predict')):
        assert torch.equal(sample.pred_score, by_tde.pred_score)
        assert torch.equal(sample.total_effect_score, by_total_effect.pred_score)
        assert not torch.equal(sample.pred_score, sample.total_effect_score)


def test_a_model_without_a_head():
    model, x = give_direction(WithoutHead(), alpha=2.), torch.randn(4, CHANNELS)
    TotalEffectRecorder(model)
    both = model(x, mode='predict')
    for sample, total_effect in zip(both, model.fc.total_effect(x).softmax(-1)):
        assert torch.equal(sample.total_effect_score, total_effect)


def test_a_classifier_outside_of_the_head():
    backbone = nn.Sequential(nn.Linear(CHANNELS, CHANNELS), DeconfoundLinear(CHANNELS, CLASSES))
    backbone.forward = lambda inputs: (backbone[1](backbone[0](inputs)), )
    model = HOST_MODELS.build(dict(type='ImageClassifier', backbone=backbone, head=dict(type='ClsHead')))
    give_direction(model, alpha=2.)
    x = torch.randn(4, CHANNELS)
    TotalEffectRecorder(model)
    for sample, total_effect in zip(model(x, mode='predict'), backbone[1].total_effect(backbone[0](x)).softmax(-1)):
        torch.testing.assert_close(sample.total_effect_score, total_effect)
        assert not torch.allclose(sample.pred_score, sample.total_effect_score)


def test_nothing_is_added_by_total_effect_in_training_or_after_removal():
    model, x = give_direction(classifier_with(HEADS[0]), alpha=0.), torch.randn(4, CHANNELS)
    recorder = TotalEffectRecorder(model)
    assert all('total_effect_score' not in sample for sample in model(x, mode='predict'))
    model.head.fc.alpha = 'auto'
    model.head.fc.mean_cosine.fill_(0.5)
    assert all('total_effect_score' in sample for sample in model(x, mode='predict'))
    assert all('total_effect_score' not in sample for sample in model.train()(x, mode='predict'))
    assert isinstance(model.eval()(x, mode='tensor'), torch.Tensor)
    recorder.remove()
    assert all('total_effect_score' not in sample for sample in model(x, mode='predict'))
    assert not model._forward_hooks and not model.head._forward_hooks


def test_models_without_tde_and_detectors_are_left_alone():
    stock = classifier_with(dict(type='LinearClsHead'))
    TotalEffectRecorder(stock)
    assert not stock._forward_hooks and not stock.head._forward_hooks
    detector = with_direction(small_detector('mask-rcnn_tde_r50'), 1.5)
    TotalEffectRecorder(detector)
    assert not detector._forward_hooks and 'total_effect_score' not in predict(detector)[0]


@pytest.mark.parametrize('head, classifier', [(dict(type='LinearClsHead'), 'head.fc'),
                                              (dict(type='ArcFaceClsHead', scale=8.), 'head.norm_product')])
def test_views_of_a_wrapped_stock_head_are_averaged_for_both_effects(head, classifier):
    model = classifier_with(head)
    layer = enable_tde(model, 0., classifier)
    views = [torch.randn(3, CHANNELS), 3 * torch.randn(3, CHANNELS)]

    def batch(inputs):
        return dict(inputs=[list(view) for view in inputs], data_samples=[[DataSample() for _ in range(3)]
                                                                         for _ in inputs])

    def scores(alpha):
        wrapper = TDEClassifierTTA(model, alpha, classifier).eval()
        layer.mean_feature.fill_(1.)
        merged = wrapper.test_step(batch(views))
        wrapper.recorder.remove()
        return merged

    model.data_preprocessor = MODELS.build(dict(type='mmpretrain.ClsDataPreprocessor'))
    model.data_preprocessor.forward = lambda data, training=False: dict(data, inputs=torch.stack(data['inputs']))
    for both, total_effect in zip(scores(1.5), scores(0.)):
        assert both.pred_label == both.pred_score.argmax() and 'total_effect_score' not in total_effect
        torch.testing.assert_close(both.total_effect_score, total_effect.pred_score)
        assert not torch.allclose(both.total_effect_score, both.pred_score, atol=1e-3)


def test_a_wrapper_in_a_wrapper_is_one():
    """``--tta`` wraps the model of a config once more."""
    model = classifier_with(dict(type='ArcFaceClsHead'))
    inner = TDEClassifierTTA(model, 0.7, 'head.norm_product')
    outer = TDEClassifierTTA(inner)
    assert outer.module is model and outer.classifier == 'head.norm_product' and model.head.norm_product.alpha == 0.7
    assert len(model._forward_hooks) == len(model.head._forward_hooks) == 1
    assert TDEClassifierTTA(model, 0., 'head.norm_product').module.head.norm_product.alpha == 0


@pytest.mark.parametrize('alpha, expected', [(None, 2.), (0.5, 0.5), ('auto', 'auto')])
def test_the_wrapper_takes_the_classifiers_own_alpha_by_default(alpha, expected):
    model = give_direction(classifier_with(HEADS[0]), alpha=2.)
    assert TDEClassifierTTA(model, alpha).module.head.fc.alpha == expected
    assert TDEClassifierTTA(classifier_with(dict(type='LinearClsHead'))).module.head.fc.alpha == 0
    with pytest.raises(ValueError, match="'neck.fc' is not a layer"):
        TDEClassifierTTA(model, alpha, classifier='neck.fc')


def test_heads_that_return_several_scores_are_left_alone():
    head = nn.Module()
    head.fc, head.forward = DeconfoundLinear(CHANNELS, CLASSES), lambda feats: [feats, feats]
    model = SimpleNamespace(head=head)
    recorder = TotalEffectRecorder(give_direction(classifier_with(head), alpha=1.))
    recorder._record(model.head, (torch.zeros(1, CHANNELS), ), [1, 2])
    assert recorder._scores is None
