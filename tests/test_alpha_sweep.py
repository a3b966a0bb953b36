"""A sweep computes the effects once; it must predict what the layer itself predicts with each alpha."""
import numpy as np
import pytest
import torch

from mmcausal.analysis import sweep_alpha
from mmcausal.analysis.alpha_sweep import CHUNK
from mmcausal.functional import NORMALIZERS
from mmcausal.models import DeconfoundLinear

ALPHAS = np.linspace(0, 3, 31).round(2).tolist()


class Pairs:
    """In the place of a metric: the pairs of label and prediction themselves."""

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
