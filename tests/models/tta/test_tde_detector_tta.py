"""TDE for stock detectors, and the wrapper that tests them with it."""
import copy

import pytest
import torch
from helpers.detectors import (
    NUM_CLASSES,
    given_to_nms,
    heads_of,
    predict,
    small_detector,
    with_direction,
)
from mmdet.models.layers import NormedLinear
from mmdet.testing import demo_mm_inputs
from torch import nn
from torch.nn import functional as F

from mmcausal.models import TDEDetectorTTA, enable_detector_tde
from mmcausal.models.tta.tde_detector_tta import as_detection_linear


@pytest.mark.parametrize('name', ['cascade_baseline_r101', 'htc_baseline_r101', 'mask-rcnn_baseline_r50'])
@pytest.mark.parametrize('predictor', [dict(type='Linear'), dict(type='NormedLinear')])
def test_stock_detectors_get_a_direction_and_tde(name, predictor):
    detector = small_detector(name, bbox_head=dict(cls_predictor_cfg=predictor))
    with torch.no_grad():
        for head in heads_of(detector):
            head.fc_cls.weight.mul_(20)
            nn.init.normal_(head.fc_cls.bias)
    x = torch.randn(9, 32)
    stock = [head.fc_cls(x) for head in heads_of(detector)]
    before = predict(detector)
    layers = enable_detector_tde(detector, 0.)
    for layer, logits in zip(layers, stock):
        torch.testing.assert_close(layer.eval()(x), logits, atol=1e-4, rtol=1e-4)
    after = predict(detector)
    if 'mask-rcnn' in name:
        for a, b in zip(before, after):
            torch.testing.assert_close(a.pred_instances.scores, b.pred_instances.scores, atol=1e-4, rtol=1e-3)
    else:  # a cascade averages probabilities from now on, not logits
        probs, features = given_to_nms(detector)
        expected = [layer(x).softmax(1) for layer, x in zip(layers, features)]
        torch.testing.assert_close(probs, sum(expected) / 3, atol=1e-5, rtol=1e-4)
    with_direction(detector, 1.5)
    assert all(layer.num_updates == 3 and layer.mean_feature.any() for layer in layers)
    for sample in predict(detector):
        assert sample.pred_instances.scores.isfinite().all()


@pytest.mark.parametrize('spelling', ['temperature', 'tempearture'])
def test_cosine_layers_of_both_stacks_keep_their_temperature(spelling):
    stock = NormedLinear(6, 4)
    delattr(stock, 'temperature' if hasattr(stock, 'temperature') else 'tempearture')
    x = torch.randn(9, 6)
    for temperature in (20., 7.):
        setattr(stock, spelling, temperature)
        torch.testing.assert_close(as_detection_linear(stock).eval()(x), temperature * F.linear(
            F.normalize(x), F.normalize(stock.weight), stock.bias / temperature), atol=1e-4, rtol=1e-4)


def test_what_has_no_tde_is_refused():
    with pytest.raises(ValueError, match='Module has no roi_head; use a detector such as'):
        enable_detector_tde(nn.Module(), 1.)
    detector = small_detector('cascade_baseline_r101')
    detector.roi_head.bbox_head[0].fc_cls = nn.Conv2d(1, 1, 1)
    with pytest.raises(ValueError, match='one linear classifier fc_cls, but that of Shared2FCBBoxHead is Conv2d; use'):
        enable_detector_tde(detector, 1.)
    with pytest.raises(ValueError, match='alpha must be'):
        TDEDetectorTTA(small_detector('cascade_tde_r101'), alpha='best')


def test_a_refused_detector_stays_as_it_was():
    detector = small_detector('cascade_baseline_r101', bbox_head=dict(
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True)))
    before = [type(detector.roi_head)] + [head.fc_cls for head in heads_of(detector)]
    with pytest.raises(ValueError, match='use_sigmoid=True'):
        enable_detector_tde(detector, 1.)
    assert before == [type(detector.roi_head)] + [head.fc_cls for head in heads_of(detector)]


def test_whole_numbers_are_alphas_too():
    """On the command line of the host, alpha=1 is the integer 1."""
    whole, real = (with_direction(small_detector('cascade_tde_r101'), 0.) for _ in range(2))
    enable_detector_tde(whole, 1)
    enable_detector_tde(real, 1.)
    assert [head.fc_cls.resolved_alpha() for head in heads_of(whole)] == [1.] * 3
    for a, b in zip(predict(whole), predict(real)):
        assert torch.equal(a.pred_instances.scores, b.pred_instances.scores)


def test_wrapper_for_ordinary_and_augmented_pipelines():
    detector = with_direction(small_detector('cascade_tde_r101'), 0.)
    wrapper = TDEDetectorTTA(detector, alpha=2)
    data = demo_mm_inputs(2, (3, 96, 128), [4, 5], NUM_CLASSES, with_mask=True)
    for sample in data['data_samples']:
        sample.set_metainfo(dict(scale_factor=(1., 1.)))
    plain = wrapper.test_step(copy.deepcopy(data))
    assert 'masks' in plain[0].pred_instances
    twice = {key: [copy.deepcopy(value), copy.deepcopy(value)] for key, value in data.items()}
    with pytest.raises(ValueError, match='merges boxes alone: set model.roi_head.mask_head=None'):
        wrapper.test_step(twice)
    detector.roi_head.mask_head = None  # the host merges boxes alone

    def merged(alpha):
        for head in heads_of(detector):
            head.fc_cls.alpha = alpha
        twice = {key: [copy.deepcopy(value), copy.deepcopy(value)] for key, value in data.items()}
        samples = wrapper.test_step(twice)
        assert len(samples) == 2
        return samples[0].pred_instances

    same, other = merged(2.), merged(0.)
    for key in ('bboxes', 'scores', 'labels'):
        torch.testing.assert_close(plain[0].pred_instances[key][:50], same[key][:50])
    assert not torch.allclose(same.scores[:50], other.scores[:50])
