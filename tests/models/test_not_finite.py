"""Features, weights and directions that are nan, infinite, or at the ends of float32."""
import copy
import math
import warnings

import numpy as np
import pytest
import torch
from helpers.layers import trained_layer

from mmcausal import functional, models
from mmcausal.analysis import sweep_alpha
from mmcausal.evaluation import ShotAccuracy
from mmcausal.models import DeployedClassifier, layers

LAYERS = [getattr(layers, name) for name in layers.__all__ if isinstance(getattr(layers, name), type)]


@pytest.mark.parametrize('shape', [(2, 3, 8), (8, ), (3, 7), (3, 8, 1, 1), ()])
@pytest.mark.parametrize('kind', LAYERS)
def test_features_of_another_shape_are_refused_in_both_modes(kind, shape):
    layer = kind(8, 6)
    for mode in (True, False):
        with pytest.raises(ValueError, match=rf'{kind.__name__} needs features \(N, 8\), but got shape \(') as error:
            layer.train(mode)(torch.zeros(shape))
        assert str(shape) in str(error.value) and not layer.observed.any()
    with pytest.raises(ValueError, match='needs features'):
        layer.observe(torch.zeros(shape))


@pytest.mark.parametrize('name, value', [('weight', math.nan), ('mean_feature', math.inf), ('mean_feature', math.nan),
                                         ('mean_cosine', -math.inf), ('mean_cosine', math.nan)])
def test_a_checkpoint_that_is_not_finite_is_refused_and_nothing_is_loaded(name, value):
    layer, state = trained_layer(alpha=1.), trained_layer().state_dict()
    before = copy.deepcopy(layer.state_dict())
    state[name].view(-1)[-1] = value
    number = state[name].numel()
    with pytest.raises(ValueError, match=f'must have finite values, but 1 of {number} in {name} are nan or infinite'):
        layer.load_state_dict(state)
    assert all(torch.equal(entry, before[key]) for key, entry in layer.state_dict().items())


@pytest.mark.parametrize('name', ['mean_feature', 'mean_cosine'])
@pytest.mark.parametrize('alpha', [1., 'auto'])
def test_no_inference_by_a_direction_that_is_not_finite(name, alpha):
    layer = trained_layer(alpha=alpha).eval()
    getattr(layer, name).view(-1)[0] = math.inf
    with pytest.raises(ValueError, match=f'1 of .* in {name} are nan or infinite'):
        layer(torch.randn(3, 8))


@pytest.mark.parametrize('alpha', ['1', 'Auto', math.nan, -1., None])
def test_no_inference_by_an_alpha_that_was_set_to_nonsense(alpha):
    layer = trained_layer().eval()
    layer.alpha = alpha
    with pytest.raises(ValueError, match="alpha must be a non-negative number or 'auto', but got"):
        layer(torch.randn(3, 8))


@pytest.mark.parametrize('alpha', [0., 1.])
def test_weights_that_are_not_finite_are_not_deployed(alpha):
    classifier = torch.nn.Module()
    classifier.head = torch.nn.Module()
    classifier.head.fc = trained_layer(alpha=alpha)
    classifier.backbone = classifier.neck = classifier.data_preprocessor = None
    with torch.no_grad():
        classifier.head.fc.weight[2, 3] = math.nan
    with pytest.raises(ValueError, match=r'in weight are nan or infinite'):
        DeployedClassifier(classifier)


def test_a_centre_and_class_means_that_are_not_finite_are_refused():
    head = models.CenteredHead(6, 8, classifier=dict(type='mmcausal.NCMLinear'))
    state = head.state_dict()
    state['center'] = torch.full((8, ), math.nan)
    with pytest.raises(ValueError, match='8 of 8 in center are nan or infinite'):
        head.load_state_dict(state)
    head.add_features((torch.full((2, 8), math.inf), ))
    with pytest.raises(ValueError, match='the centre needs finite features, but got some that are nan or infinite'):
        head.set_center()
    features = torch.randn(6, 8)
    features[4, 0] = math.nan
    head.fc.add_samples(features, torch.arange(6))
    with pytest.raises(ValueError, match='class means must be finite, but 1 of 6 classes have .*, e.g. class 4'):
        head.fc.set_means()
    assert not head.fc.has_means and head.fc.weight.isfinite().all()


@pytest.mark.parametrize('scale', [1e-17, 1e-8, 1e8, 1e17])
@pytest.mark.parametrize('kind', ['cosine', 'deconfound'])
def test_logits_do_not_depend_on_the_length_of_features_and_direction(kind, scale):
    x, weight, mean = torch.randn(5, 8), torch.randn(6, 8), torch.randn(8)
    expected = functional.total_direct_effect(x, weight, mean, 1.5, normalizer=kind)
    for scaled in ((scale * x, weight, mean), (x, weight, scale * mean)):
        logits = functional.total_direct_effect(*scaled, 1.5, normalizer=kind)
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    if kind == 'cosine':
        torch.testing.assert_close(functional.total_direct_effect(x, scale * weight, mean, 1.5, normalizer=kind),
                                   expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('alpha', [0., 1.])
@pytest.mark.parametrize('scale', [1e-30, 1e30])
def test_features_too_small_or_large_for_their_squares_are_counted(scale, alpha, recwarn):
    trained_layer(alpha=alpha).eval()(scale * torch.randn(4, 8))
    assert [str(warning.message)[:30] for warning in recwarn] == ['4 of the 4 samples of a batch ']


@pytest.mark.parametrize('kind', ['linear', 'deconfound'])
def test_logits_that_are_not_finite_are_counted_once_in_each_evaluation(kind, recwarn):
    layer, features = trained_layer(normalizer=kind).eval(), torch.randn(5, 8)
    features[1:3, 0] = math.nan
    warnings.simplefilter('always')
    for _ in range(2):
        for _ in range(3):
            layer.eval()(features)
        layer.train()(torch.randn(3, 8))
    messages = [str(warning.message) for warning in recwarn]
    assert messages == ['2 of the 5 samples of a batch have logits that are not finite, or equal for all classes, so '
                        'their predictions mean nothing: look at the features and at the weights of this '
                        'DeconfoundLinear'] * 2


@pytest.mark.parametrize('features, number', [
    (torch.zeros(4, 8), 4), (torch.cat([torch.zeros(3, 8), torch.ones(1, 8)]), 0), (torch.zeros(0, 8), 0)])
def test_equal_logits_of_a_whole_batch_are_counted(features, number, recwarn):
    trained_layer(alpha=1.).eval()(features)
    assert [str(warning.message)[:30] for warning in recwarn] == ['4 of the 4 samples of a batch '] * (number == 4)


def test_one_class_and_a_traced_layer_warn_of_nothing(recwarn):
    models.TDELinear(8, 1).eval()(torch.zeros(3, 8))
    assert not recwarn.list
    traced = torch.jit.trace(trained_layer().eval(), torch.randn(2, 8))
    del recwarn.list[:]
    assert not traced(torch.zeros(3, 8)).any() and not recwarn.list


def test_batches_left_out_of_the_direction_are_counted_and_told_once(recwarn):
    warnings.simplefilter('always')
    layer = models.DeconfoundLinear(8, 6, alpha=1.)
    for batch in (torch.randn(3, 8) + 1, torch.full((3, 8), math.nan), torch.randn(3, 8) + 1, torch.zeros(0, 8)):
        layer(batch)
        layer(torch.full((2, 8), math.inf))
        layer.update_direction(0.9)
    assert layer.num_skipped == 5 and layer.num_updates == 2 and 'num_skipped' not in layer.state_dict()
    assert layer.skipped_batches().startswith('5 training batches were left out of the head direction, because')
    layer.eval()(torch.randn(3, 8))
    layer(torch.randn(3, 8))
    assert [str(warning.message) for warning in recwarn] == [layer.skipped_batches()]
    layer.reset_direction()
    assert layer.num_skipped == 0


def test_a_sum_over_batches_beyond_float32_is_counted():
    layer = trained_layer()
    before = layer.mean_feature.clone()
    for _ in range(2):
        layer(torch.full((1, 8), 2e38))
    layer.update_direction(0.9)
    assert layer.num_skipped == 1 and torch.equal(layer.mean_feature, before)


def test_scores_that_are_not_finite_count_as_wrong_predictions(caplog):
    metric = ShotAccuracy(class_counts=[200, 50, 5])
    scores = torch.tensor([[0.9, 0.1, 0.], [math.nan] * 3, [0.1, 0.9, 0.]])
    metric.process(None, [dict(gt_label=torch.tensor([label]), pred_score=score)
                          for label, score in zip((0, 0, 1), scores)])
    with caplog.at_level('WARNING', logger='mmengine'):
        metrics = metric.compute_metrics(metric.results)
    assert metrics['overall'] == pytest.approx(200 / 3) and metrics['many'] == 50 and metrics['medium'] == 100


def test_sweeps_refuse_features_that_are_not_finite_and_other_labels():
    layer, metric = trained_layer(), ShotAccuracy(class_counts=[200] * 6)
    features = np.ones((4, 8), np.float32)
    with pytest.raises(ValueError, match=r'labels must be one for each of 4 features, but got shape \(3,\)'):
        sweep_alpha(layer, features, [0, 1, 2], [1.], metric)
    features[2, 2] = math.nan
    with pytest.raises(ValueError, match='features must be finite, but some of images 0 to 3 are nan or infinite'):
        sweep_alpha(layer, features, [0, 1, 2, 3], [1.], metric)


def test_ordinary_evaluations_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for kind in (models.TDELinear, models.DeconfoundLinear, models.DetectionDeconfoundLinear):
            layer = kind(8, 6)
            layer(torch.randn(5, 8))
            layer.eval()(torch.randn(5, 8))
