"""Sweeps over alpha against the predictions of the layer itself."""
import numpy as np
import pytest
import torch

from mmcausal.analysis import sweep_alpha
from mmcausal.analysis.alpha_sweep import CHUNK
from mmcausal.evaluation import ShotAccuracy
from mmcausal.functional import NORMALIZERS
from mmcausal.models import DeconfoundLinear

ALPHAS = np.linspace(0, 3, 31).round(2).tolist()


class Pairs:
    """Return the pairs of label and prediction, in place of a metric."""

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
