"""The wrapper that tests a stock classifier with TDE."""
import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn

from mmcausal import functional
from mmcausal.models import TDEClassifierTTA, enable_tde


class Classifier(nn.Module):

    def __init__(self, fc):
        super().__init__()
        self.head = nn.Module()
        self.head.fc = fc

    def test_step(self, data):
        return self.head.fc(data['inputs'])


def test_wrapper_around_a_stock_linear_layer():
    linear, x = nn.Linear(8, 6), torch.randn(5, 8) + 1
    before = linear(x)
    model = Classifier(linear)
    layer = enable_tde(model, 0.5)
    torch.testing.assert_close(layer(x), before)
    layer.update_direction(0.)
    effect = functional.head_effect(x, linear.weight, x.mean(0), num_heads=1, normalizer='linear')
    wrapper = TDEClassifierTTA(model, alpha=0.5).eval()
    batch = dict(inputs=x, data_samples=[None] * 5)
    torch.testing.assert_close(wrapper.test_step(batch), before - 0.5 * effect)
    with pytest.raises(ValueError, match="'head' is a Module"):
        enable_tde(model, 0.5, classifier='head')
    with pytest.raises(ValueError, match='is not a layer'):
        enable_tde(model, 0.5, classifier='neck.fc')
    with pytest.raises(ValueError, match='alpha must be'):
        TDEClassifierTTA(model, alpha='x')


def test_merged_views_have_the_class_of_their_mean_score():
    wrapper = TDEClassifierTTA(Classifier(nn.Linear(8, 3)), alpha=0.)
    views = [DataSample().set_pred_score(torch.tensor(score)).set_pred_label(label)
             for score, label in (([0.5, 0.1, 0.4], 0), ([0.0, 0.4, 0.6], 2))]
    merged, = wrapper.merge_preds([views])
    assert merged.pred_label.tolist() == [2] and merged.pred_score.tolist() == pytest.approx([0.25, 0.25, 0.5])
