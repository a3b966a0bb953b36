"""Sweeps over alpha and other corrections against the predictions of the layers themselves."""
import numpy as np
import pytest
import torch

from mmcausal.analysis import Correction, sweep_alpha, sweep_corrections
from mmcausal.analysis.sweeps import CHUNK
from mmcausal.evaluation import ShotAccuracy
from mmcausal.functional import NORMALIZERS
from mmcausal.models import (
    DeconfoundLinear,
    EuclideanNCMLinear,
    LogitAdjustedDeconfoundLinear,
    LogitAdjustedLinear,
    LWSLinear,
    NCMLinear,
    TauNormLinear,
    TDELinear,
)

ALPHAS = np.linspace(0, 3, 31).round(2).tolist()


COUNTS = [200, 90, 40, 20, 15, 11, 9, 7, 5, 3, 2, 1]


class Pairs:
    """Return the pairs of label and prediction, in place of a metric."""

    def counts(self):
        return np.array(COUNTS)

    def compute_metrics(self, results):
        return dict(pairs=np.array(results))


def trained_layer(**kwargs):
    layer = DeconfoundLinear(16, 12, **kwargs)
    layer(torch.randn(50, 16) + 0.5)
    layer.update_direction(0.)
    return layer


@pytest.mark.parametrize('normalizer', sorted(NORMALIZERS))
@pytest.mark.parametrize('num_heads, bias', [(1, True), (4, False)])
def test_predictions_are_the_layers_own(normalizer, num_heads, bias):
    layer = trained_layer(normalizer=normalizer, num_heads=num_heads, bias=bias)
    features, labels = torch.randn(100, 16) + 0.5, torch.randint(0, 12, (100, ))
    points = sweep_alpha(layer, features, labels, ALPHAS, Pairs())
    layer.eval()
    for alpha, point in zip(ALPHAS, points):
        layer.alpha = alpha
        logits = layer(features)
        assert point['alpha'] == alpha and point['pairs'].tolist() == list(
            map(list, zip(labels.tolist(), logits.argmax(-1).tolist())))
        mean = logits.softmax(-1).mean(0)
        assert point['entropy'] == pytest.approx(-(mean * mean.log()).sum().item(), abs=1e-5)
    assert len({tuple(point['pairs'][:, 1]) for point in points}) > 5  # alpha matters here


def test_not_one_of_many_predictions_differs():
    layer = DeconfoundLinear(128, 100)
    layer(torch.randn(500, 128).relu() + 0.2)
    layer.update_direction(0.)
    features, labels = torch.randn(10000, 128).relu() + 0.2, torch.zeros(10000, dtype=torch.long)
    points = sweep_alpha(layer, features, labels, ALPHAS, Pairs())
    layer.eval()
    for alpha, point in zip(ALPHAS, points):
        layer.alpha = alpha
        predicted = torch.cat([layer(batch).argmax(-1) for batch in features.split(256)])
        assert np.array_equal(point['pairs'][:, 1], predicted.numpy())


def test_no_image_is_lost_between_chunks():
    layer, features = trained_layer(), torch.randn(2 * CHUNK + 7, 16)
    labels = torch.arange(len(features))
    point, = sweep_alpha(layer, features.numpy(), labels.numpy(), [1.], Pairs())
    layer.eval().alpha = 1.
    assert point['pairs'][:, 0].tolist() == labels.tolist()
    assert point['pairs'][:, 1].tolist() == layer(features).argmax(-1).tolist()


def test_an_alpha_by_the_rule_becomes_a_number():
    layer = trained_layer()
    point, = sweep_alpha(layer, torch.randn(5, 16), torch.zeros(5), ['auto'], Pairs())
    assert point['alpha'] == 1 / layer.mean_cosine.item() and layer.alpha == 0 and layer.training


def test_without_a_direction_there_is_no_tde():
    layer = DeconfoundLinear(16, 12)
    sweep_alpha(layer, torch.randn(5, 16), torch.zeros(5), [0.], Pairs())
    with pytest.raises(RuntimeError, match='needs the head direction'):
        sweep_alpha(layer, torch.randn(5, 16), torch.zeros(5), [0., 1.], Pairs())


def test_sweep_leaves_the_layer_and_equals_it():
    layer = DeconfoundLinear(8, 3, alpha=0.5)
    features, labels = torch.randn(20, 8), torch.arange(20) % 3
    layer(features)
    layer.update_direction(0.)
    points = sweep_alpha(layer, features, labels, [0, 1], ShotAccuracy(class_counts=[200, 50, 5]))
    assert layer.alpha == 0.5 and layer.training
    layer.eval().alpha = 1.
    correct = (layer(features).argmax(-1) == labels).float().mean().item()
    assert points[1]['overall'] == pytest.approx(100 * correct)
    assert points[1]['alpha'] == 1 and 0 < points[1]['entropy'] <= torch.tensor(3.).log() + 1e-6


@pytest.mark.parametrize('alphas', [[float('nan')], [0., float('inf')], [-1.]])
def test_alpha_grid_must_be_finite(alphas):
    layer = DeconfoundLinear(4, 3)
    with pytest.raises(ValueError, match='alpha must be a non-negative number'):
        sweep_alpha(layer, torch.zeros(2, 4), [0, 1], alphas, ShotAccuracy(class_counts=[9, 9, 9]))


def linear_layer():
    layer = TDELinear(16, 12, bias=True)
    layer.weight.data *= torch.linspace(1, 0.2, 12)[:, None]
    layer.bias.data = torch.linspace(1, -1, 12)
    layer(torch.randn(50, 16) + 0.5)
    layer.update_direction(0.)
    return layer


@pytest.mark.parametrize('alpha', [0., 0.7])
@pytest.mark.parametrize('layer_class, name, values', [(TauNormLinear, 'exponent', [0.3, 0.7, 1.]),
                                                       (LogitAdjustedLinear, 'tau', [0., 0.2, 0.5, 1.])])
def test_corrections_are_those_of_the_layers(layer_class, name, values, alpha):
    layer, features, labels = linear_layer(), torch.randn(200, 16) + 0.5, torch.randint(0, 12, (200, ))
    points = sweep_corrections(layer, features, labels, [Correction(alpha, **{name: value}) for value in values],
                               Pairs())
    predictions = []
    for value, point in zip(values, points):
        corrected = layer_class(16, 12, **{name: value}, alpha=alpha).eval()
        corrected.load_state_dict(layer.state_dict(), strict=False)
        if layer_class is LogitAdjustedLinear:
            corrected.set_class_counts(COUNTS)
        logits = corrected(features)
        predictions.append(logits.argmax(-1).tolist())
        assert point['pairs'][:, 1].tolist() == predictions[-1] and (point['alpha'], point[name]) == (alpha, value)
        mean = logits.softmax(-1).mean(0)
        assert point['entropy'] == pytest.approx(-(mean * mean.log()).sum().item(), abs=1e-5)
    assert len(set(map(tuple, predictions))) == len(values)  # the value matters here


def test_corrections_together_are_the_formula():
    layer, features = linear_layer(), torch.randn(200, 16) + 0.5
    total, head = layer.eval().effects(features)
    prior = torch.tensor(COUNTS).double() / sum(COUNTS)
    expected = (total - layer.bias - 0.5 * head) / layer.weight.norm(dim=1)**0.4 - 0.8 * prior.log()
    point, = sweep_corrections(layer, features, torch.zeros(200), [Correction(0.5, 0.4, 0.8)], Pairs())
    assert point['pairs'][:, 1].tolist() == expected.argmax(-1).tolist()


@pytest.mark.parametrize('layer, correction, message', [
    (TDELinear(4, 3), Correction(exponent=1.5), 'exponent must be a number'),
    (TDELinear(4, 3), Correction(tau=-1.), 'tau must be a number'),
    (DeconfoundLinear(4, 3), Correction(exponent=0.5), "a DeconfoundLinear with the normalizer 'deconfound'"),
    *((layer(4, 3), Correction(exponent=0.5), f'but got 0.5 for a {layer.__name__}')
      for layer in (TauNormLinear, LWSLinear, LogitAdjustedLinear, NCMLinear, EuclideanNCMLinear)),
    (LogitAdjustedLinear(4, 3), Correction(tau=1.), 'tau must be 0 for a LogitAdjustedLinear'),
    (LogitAdjustedDeconfoundLinear(4, 3), Correction(tau=1.), 'tau must be 0 for a LogitAdjustedDeconfoundLinear'),
])
def test_corrections_that_do_not_fit_are_refused(layer, correction, message):
    with pytest.raises(ValueError, match=message):
        sweep_corrections(layer, torch.zeros(2, 4), [0, 1], [correction], ShotAccuracy(class_counts=[9, 9, 9]))


def test_logit_adjustment_needs_an_image_of_each_class():
    with pytest.raises(ValueError, match='class 1 with count 0'):
        sweep_corrections(TDELinear(4, 3), torch.zeros(2, 4), [0, 1], [Correction(tau=1.)],
                          ShotAccuracy(class_counts=[9, 0, 9]))
    with pytest.raises(ValueError, match='one number for each of 3 classes'):
        sweep_corrections(TDELinear(4, 3), torch.zeros(2, 4), [0, 1], [Correction(tau=1.)],
                          ShotAccuracy(class_counts=[9, 9]))
