"""Where TDE is right, for heads that no table lists; docs/supported.md has the others."""
import copy

import pytest
import torch
from helpers.supported_classifiers import BottleneckHead, SigmoidHead, TwoClassifierHead, built, images, ready
from mmengine.model import BaseTTAModel
from mmengine.registry import init_default_scope
from mmpretrain.models import LinearClsHead
from torch import nn
from torch.nn import functional as F

from mmcausal import DeconfoundLinear, check_tde, enable_tde
from mmcausal.models import TDEClassifierTTA
from mmcausal.models.head_probe import probe_head

SIZES = dict(num_classes=6, in_channels=8)


def model_of(head):
    return nn.ModuleDict(dict(head=head))


class PooledHead(LinearClsHead):
    """Pools maps itself, with weights of a BatchNorm before the classifier."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = nn.BatchNorm1d(self.in_channels)

    def forward(self, feats):
        return self.fc(self.norm(feats[-1].mean((2, 3))))


class GatedHead(LinearClsHead):
    """Its logits go through one more function."""

    def forward(self, feats):
        return self.fc(feats[-1]).tanh()


class PromptedHead(LinearClsHead):
    """Needs more than features, so nothing can be predicted from them alone."""

    def __init__(self, hidden=12, **kwargs):
        super().__init__(**kwargs)
        self.hidden = nn.Linear(self.in_channels, hidden)

    def predict(self, feats, data_samples=None, *, prompt):
        return super().predict(feats, data_samples)


class FunctionalBCEHead(SigmoidHead):
    """A loss on sigmoids that is no module, in training too."""

    def _get_loss(self, cls_score, data_samples, **kwargs):
        return dict(loss=F.binary_cross_entropy_with_logits(cls_score, torch.zeros_like(cls_score)))


@pytest.mark.parametrize('head', [PooledHead, BottleneckHead])
def test_own_heads_with_a_softmax_over_one_layer(head):
    check_tde(model_of(head(**SIZES)), 'head.fc')


@pytest.mark.parametrize('head, words', [
    (GatedHead, "those of GatedHead are not of 'head.fc' alone"),
    (FunctionalBCEHead, 'FunctionalBCEHead scores each class by itself'),
    (TwoClassifierHead, "those of TwoClassifierHead are not of 'head.fc' alone"),
])
def test_own_heads_without_one(head, words):
    with pytest.raises(ValueError, match=f'{words}.*; use a head with a softmax over one linear layer'):
        check_tde(model_of(head(**SIZES)), 'head.fc')


def test_a_head_that_needs_more_than_features_is_judged_by_its_number_of_classes():
    model = model_of(PromptedHead(**SIZES))
    check_tde(model, 'head.fc')
    with pytest.raises(ValueError, match="6 classes of PromptedHead, but 'head.hidden' has 12 outputs; use "
                       "classifier='head.fc'"):
        check_tde(model, 'head.hidden')
    with pytest.raises(ValueError, match='has head.fc and head.hidden'):
        check_tde(model_of(PromptedHead(hidden=6, **SIZES)), 'head.fc')


@pytest.mark.parametrize('name, kind, words', [
    ('head.fc', 'VisionTransformerClsHead', "use classifier='head.layers.head'"),
    ('head.fc', 'ArcFaceClsHead', "use classifier='head.norm_product'"),
    ('head.layers', 'VisionTransformerClsHead', "'head.layers' is a Sequential; use classifier='head.layers.head'"),
    ('head.fc', 'DeiTClsHead', 'those of DeiTClsHead are not of'),
    ('head.fc', 'LeViTClsHead', 'use distillation=False, or'),
    ('neck.fc', 'LinearClsHead', "'neck.fc' is not a layer of ModuleDict; use classifier='head.fc'"),
    ('', 'LinearClsHead', "'' is a ModuleDict; use classifier='head.fc'"),
])
def test_a_wrong_name_is_answered_with_the_right_one(name, kind, words):
    with pytest.raises(ValueError) as error:
        check_tde(model_of(built(type=kind, **SIZES)), name)
    assert words in str(error.value)


def test_layers_of_backbone_and_neck_are_not_the_classifier():
    lenet = images(dict(type='LeNet5', num_classes=6), 'backbone.classifier.2').build()
    with pytest.raises(ValueError, match="has 84 outputs; use classifier='backbone.classifier.2'"):
        check_tde(lenet, 'backbone.classifier.0')


def test_plain_pytorch():
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 6))
    enable_tde(model, 0.5, '2')
    with pytest.raises(ValueError, match="6 classes of Sequential, but '0' has 12 outputs; use classifier='2'"):
        enable_tde(model, 0.5, '0')
    check_tde(DeconfoundLinear(8, 6), '')
    assert isinstance(enable_tde(nn.ModuleDict(dict(fc=nn.Linear(8, 6))), 0.5, 'fc'), DeconfoundLinear)


def test_a_loss_on_sigmoids_in_any_place():
    for loss in (nn.BCELoss(), nn.Sequential(nn.MultiLabelSoftMarginLoss())):
        with pytest.raises(ValueError, match='Head needs a loss .* takes sigmoids; use a head'):
            check_tde(model_of(LinearClsHead(loss=loss, **SIZES)), 'head.fc')


def test_the_model_and_the_random_state_stay():
    init_default_scope('mmpretrain')
    model = model_of(ready(BottleneckHead(**SIZES))).train()
    model.head.fc = DeconfoundLinear(8, 6, alpha=1.)
    before, state, called = copy.deepcopy(model.state_dict()), torch.get_rng_state(), []
    model.head.fc.register_forward_hook(lambda *args: called.append(args))
    check_tde(model, 'head.fc')
    assert torch.equal(torch.get_rng_state(), state) and not called and model.head.fc.alpha == 1.
    assert all(module.training for module in model.modules()) and 'pre_logits' not in vars(model.head)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.head.fc.observed.any()


def test_what_cannot_be_copied_is_judged_by_its_structure():
    head = ready(LinearClsHead(**SIZES))
    head.generator = (value for value in range(3))  # cannot be copied
    assert probe_head(head, 'fc') is None
    check_tde(model_of(head), 'head.fc')


def test_wrapped_classifiers_share_the_check():
    model = images(dict(type='LeNet5', num_classes=6), 'backbone.classifier.2',
                   head=dict(type='MultiLabelClsHead')).build()
    with pytest.raises(ValueError, match='takes sigmoids'):
        TDEClassifierTTA(model, alpha=1., classifier='backbone.classifier.2')
    wrapped = BaseTTAModel.__new__(TDEClassifierTTA)
    nn.Module.__init__(wrapped)
    wrapped.module = model_of(ready(LinearClsHead(**SIZES)))
    check_tde(wrapped, 'module.head.fc')
