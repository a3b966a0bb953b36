"""Masks of one class against the host's masks of all: losses, gradients and masks, and where the host's stay."""
import copy
from contextlib import nullcontext
from unittest import mock

import numpy as np
import pytest
import torch
from helpers import supported_detectors
from helpers.detectors import (
    NUM_CLASSES,
    as_list,
    heads_of,
    inputs,
    losses,
    predict,
    small_detector,
    small_model_cfg,
    with_direction,
)
from helpers.host_detectors import host_detector
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.roi_heads.mask_heads import FCNMaskHead, fcn_mask_head
from torch.nn import functional as F

from mmcausal.models import DetectionDeconfoundLinear, enable_detector_tde
from mmcausal.models.roi_heads.label_masks import LabelMaskMixin, label_logits, mask_heads
from mmcausal.registry import MODELS

BASELINES = ['mask-rcnn_baseline_r50', 'cascade_baseline_r101', 'htc_baseline_r101']
TDE = ['mask-rcnn_tde_r50', 'cascade_tde_r101', 'htc_tde_r101']
HOST_CONFIGS = ['Mask R-CNN', 'Cascade R-CNN, with masks', 'HTC, with its semantic branch', 'SCNet']


@MODELS.register_module()
class OwnMaskHead(FCNMaskHead):
    """A mask head in which the logit of a class depends on those of the others."""

    def forward(self, x):
        return super().forward(x).log_softmax(1)


@MODELS.register_module()
class OwnMaskLoss(CrossEntropyLoss):
    """A loss that weighs masks by their labels."""

    def forward(self, cls_score, label, weight=None, **kwargs):
        return super().forward(cls_score, label, weight, **kwargs) * (1 + weight.float().mean())


def as_host(detector):
    """Return a copy of a detector without ``LabelMaskMixin``."""
    twin = copy.deepcopy(detector)
    bases = type(detector.roi_head).__bases__
    twin.roi_head.__class__ = type('Host', tuple(base for base in bases if not issubclass(base, LabelMaskMixin)), {})
    assert not isinstance(twin.roi_head, LabelMaskMixin) and isinstance(detector.roi_head, LabelMaskMixin)
    return twin


def recorded_logits(detector):
    """Return a list that gets the number of channels and the type of all mask logits."""
    recorded = []
    for head in mask_heads(detector.roi_head):
        head.conv_logits.register_forward_hook(
            lambda conv, args, logits: recorded.append((logits.shape[1], logits.dtype)))
    return recorded


def prepared(detector):
    """Let classes and masks of a detector differ, and give classifiers of this package a direction."""
    torch.manual_seed(1)
    for head in heads_of(detector):
        torch.nn.init.normal_(head.fc_cls.weight, std=0.3)
    for head in mask_heads(detector.roi_head):
        torch.nn.init.normal_(head.conv_logits.weight, std=0.3)
        torch.nn.init.normal_(head.conv_logits.bias)
    for layer in detector.modules():
        if isinstance(layer, DetectionDeconfoundLinear):
            return with_direction(detector, 1.5)
    return detector


def step(detector, num_items):
    torch.manual_seed(0)
    np.random.seed(0)
    total, log = losses(detector, num_items)
    total.backward()
    return total, log, {name: parameter.grad for name, parameter in detector.named_parameters()}


def check_training(detector, num_items=(4, 5), num_channels=1):
    twin = as_host(detector)
    logits, host_logits = recorded_logits(detector), recorded_logits(twin)
    (total, log, grads), (host_total, host_log, host_grads) = (step(model, num_items) for model in (detector, twin))
    assert logits == [(num_channels, torch.float32)] * len(host_logits)
    assert log.keys() == host_log.keys()
    torch.testing.assert_close(total, host_total, atol=1e-6, rtol=1e-6)
    for name, grad in grads.items():
        assert (grad is None) == (host_grads[name] is None), name
        if grad is not None:
            torch.testing.assert_close(grad, host_grads[name], atol=1e-6, rtol=1e-5, msg=name)
    return grads


def pasted(detector, num_items=(4, 5)):
    """Return the mask probabilities (1, 1, h, w) that the host pastes, and the predictions."""
    probs, paste = [], fcn_mask_head._do_paste_mask

    def recording(masks, *args, **kwargs):
        probs.extend(masks.clone())
        return paste(masks, *args, **kwargs)

    with mock.patch.object(fcn_mask_head, '_do_paste_mask', recording):
        return probs, predict(detector, num_items)


def check_inference(detector, num_channels=1):
    twin = as_host(detector)
    logits, host_logits = recorded_logits(detector), recorded_logits(twin)
    (probs, samples), (host_probs, host_samples) = pasted(detector), pasted(twin)
    assert logits == [(num_channels, torch.float32)] * len(host_logits)
    assert len(probs) == len(host_probs) == sum(len(sample.pred_instances) for sample in samples) > 0
    torch.testing.assert_close(torch.stack(probs), torch.stack(host_probs), atol=1e-6, rtol=0)
    labels = torch.cat([sample.pred_instances.labels for sample in samples])
    assert len(labels.unique()) > 1
    for sample, other in zip(samples, host_samples):
        result, expected = sample.pred_instances, other.pred_instances
        assert torch.equal(result.labels, expected.labels) and torch.equal(result.bboxes, expected.bboxes)
        assert result.masks.shape == expected.masks.shape
        assert (result.masks != expected.masks).float().mean() < 1e-4  # probabilities at the threshold


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('num_inputs', [5, 0])
def test_label_logits_are_a_channel_of_the_convolution(num_inputs, bias):
    x, weight = torch.randn(num_inputs, 7, 4, 3, requires_grad=True), torch.randn(6, 7, 1, 1, requires_grad=True)
    bias, labels = torch.randn(6, requires_grad=True) if bias else None, torch.randint(0, 6, (num_inputs, ))
    parameters = [parameter for parameter in (x, weight, bias) if parameter is not None]
    every = F.conv2d(x, weight, bias)
    found, expected = label_logits(x, weight, bias, labels), every[torch.arange(num_inputs), labels][:, None]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    target = torch.randn(found.shape)
    for grad, other in zip(*(torch.autograd.grad((logits * target).sum(), parameters) for logits in (found, expected))):
        torch.testing.assert_close(grad, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('name', BASELINES + TDE)
@pytest.mark.parametrize('num_items', [(4, 5), (3, 0)])
def test_training_is_the_hosts(name, num_items):
    detector = prepared(small_detector(name))
    grads = check_training(detector, num_items)
    found = [grad for key, grad in grads.items() if 'conv_logits.weight' in key]
    assert found and any((grad.flatten(1) == 0).all(1).any() for grad in found)  # classes without a proposal
    assert all(grad.any() for grad in found)


@pytest.mark.parametrize('name', BASELINES + TDE)
def test_images_without_objects(name):
    """Without positives, the gradient of every mask head is the host's zero, as DDP needs it."""
    detector = prepared(small_detector(name))
    for key, grad in check_training(detector, (0, 0)).items():
        assert 'mask_head' not in key or 'conv_res' in key or (grad is not None and not grad.any()), key


@pytest.mark.parametrize('name', [*BASELINES, *TDE, 'cascade_seesaw-tde_r101'])
def test_masks_are_the_hosts(name):
    check_inference(prepared(small_detector(name)))


@pytest.mark.parametrize('name', HOST_CONFIGS)
def test_trained_detectors_of_the_host(name):
    detector = host_detector(supported_detectors.HOST_CONFIGS_WITH_TDE[name], tde=True)
    check_training(prepared(detector))
    detector.zero_grad()
    check_inference(detector)


@pytest.mark.parametrize('name', BASELINES + TDE)
@pytest.mark.parametrize('empty', [(0, 1), (1, )])
def test_no_detections(name, empty):
    detector = prepared(small_detector(name))
    find = detector.roi_head.predict_bbox

    def without(*args, **kwargs):
        return [result[:0] if image in empty else result for image, result in enumerate(find(*args, **kwargs))]

    with mock.patch.object(detector.roi_head, 'predict_bbox', without):
        samples = predict(detector)
    full = predict(detector)
    for image, (sample, other) in enumerate(zip(samples, full)):
        result, expected = sample.pred_instances, other.pred_instances
        assert len(result.masks) == len(result.labels) == (0 if image in empty else len(expected))
        assert image in empty or torch.equal(result.masks, expected.masks)


@pytest.mark.parametrize('name, stock', zip(BASELINES, ['StandardRoIHead', 'CascadeRoIHead',
                                                        'HybridTaskCascadeRoIHead']))
def test_checkpoints_are_the_hosts(name, stock):
    ours, host = small_detector(name), small_detector(name, type=stock)
    assert type(host.roi_head).__name__ == stock
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in host.state_dict().items()}
    for key, value in ours.state_dict().items():  # the same random weights
        assert torch.equal(value, host.state_dict()[key]), key
    prepared(host)
    ours.load_state_dict(host.state_dict(), strict=True)
    host.load_state_dict(ours.state_dict(), strict=True)
    for sample, other in zip(predict(ours), predict(host)):
        assert (sample.pred_instances.masks != other.pred_instances.masks).float().mean() < 1e-4


@pytest.mark.parametrize('name', BASELINES)
def test_a_trained_baseline_infers_by_tde(name):
    detector = prepared(small_detector(name))
    assert all(isinstance(layer, DetectionDeconfoundLinear) for layer in enable_detector_tde(detector, 0.))
    assert isinstance(detector.roi_head, LabelMaskMixin)
    check_inference(with_direction(detector, 1.5))


def with_mask_heads(name, **changes):
    heads = small_model_cfg(name).roi_head.mask_head
    for head in as_list(heads):
        head.update(changes)
    return small_detector(name, mask_head=heads)


@pytest.mark.parametrize('name', ['mask-rcnn_baseline_r50', 'htc_tde_r101'])
def test_class_agnostic_masks_stay_the_hosts(name):
    detector = prepared(with_mask_heads(name, class_agnostic=True))
    check_training(detector)
    detector.zero_grad()
    check_inference(detector)
    assert all(head.class_agnostic for head in mask_heads(detector.roi_head))


@pytest.mark.parametrize('name', ['cascade_baseline_r101', 'htc_tde_r101'])
def test_cosine_masks_of_seesaw(name):
    detector = prepared(with_mask_heads(name, predictor_cfg=dict(type='NormedConv2d')))
    check_training(detector)
    detector.zero_grad()
    check_inference(detector)


OBSTACLES = {
    'OwnMaskHead': dict(type='mmcausal.OwnMaskHead'),
    'a FCNMaskHead with OwnMaskLoss': dict(loss_mask=dict(type='mmcausal.OwnMaskLoss', use_mask=True)),
    'a FCNMaskHead with Conv2d.*groups=2': dict(predictor_cfg=dict(type='Conv', groups=2)),
}


@pytest.mark.parametrize('reason', OBSTACLES)
def test_other_mask_heads_stay_the_hosts_with_tde(reason):
    detector = prepared(with_mask_heads('mask-rcnn_tde_r50', **OBSTACLES[reason]))
    check_training(detector, num_channels=NUM_CLASSES)
    detector.zero_grad()
    check_inference(detector, num_channels=NUM_CLASSES)


@pytest.mark.parametrize('reason', OBSTACLES)
def test_other_mask_heads_are_refused_where_they_were_asked_for(reason):
    with pytest.raises(ValueError, match='LabelMaskCascadeRoIHead needs FCNMaskHead, HTCMaskHead or SCNetMaskHead with '
                       f'.*, but got {reason}.*; use the RoI head of MMDetection'):
        with_mask_heads('cascade_baseline_r101', **OBSTACLES[reason])


@pytest.mark.parametrize('path, setting', [(supported_detectors.MASK_SCORING, 'mask_iou_head'),
                                           (supported_detectors.POINT_REND, 'point_head'),
                                           (supported_detectors.GRID, 'grid_roi_extractor')])
def test_roi_heads_that_read_the_logits_of_all_classes_are_refused(path, setting):
    with pytest.raises(ValueError, match=f"LabelMaskStandardRoIHead does not use '{setting}', which belongs to "
                       r'(\w+); use \1$'):
        host_detector(path, type='mmcausal.LabelMaskStandardRoIHead')


@pytest.mark.parametrize('name', ['mask-rcnn_baseline_r50', 'cascade_baseline_r101'])
def test_without_masks(name):
    detector = small_detector(name, mask_head=None)
    assert losses(detector)[0].isfinite()
    assert 'masks' not in predict(detector)[0].pred_instances


@pytest.mark.parametrize('name', ['mask-rcnn_baseline_r50', 'cascade_tde_r101', 'htc_baseline_r101'])
def test_autocast(name):
    """In the RoI head: on a CPU, the host's NMS of the RPN takes no bfloat16."""
    detector = prepared(small_detector(name))
    results = []
    for model in (detector, as_host(detector)):
        logits, loss = recorded_logits(model), model.roi_head.loss
        with mock.patch.object(model.roi_head, 'loss', torch.autocast('cpu', dtype=torch.bfloat16)(loss)):
            results.append(step(model, (4, 5)))
        assert set(logits) == {(1 if model is detector else NUM_CLASSES, torch.bfloat16)}
    (total, log, grads), (host_total, host_log, host_grads) = results
    torch.testing.assert_close(total, host_total, atol=1e-2, rtol=1e-2)
    for key, grad in grads.items():
        if 'conv_logits' in key:
            torch.testing.assert_close(grad, host_grads[key], atol=1e-2, rtol=5e-2)


@pytest.mark.parametrize('fails', [False, True])
def test_outside_of_losses_and_predictions_all_classes_are_there(fails):
    detector = prepared(small_detector('cascade_baseline_r101'))
    with mock.patch.object(FCNMaskHead, 'get_targets', side_effect=RuntimeError) if fails else nullcontext():
        with pytest.raises(RuntimeError) if fails else nullcontext():
            losses(detector)
    for head in mask_heads(detector.roi_head):
        assert not head.class_agnostic and head(torch.randn(2, 16, 14, 14)).shape == (2, NUM_CLASSES, 28, 28)
    logits = recorded_logits(detector)
    detector(**inputs(detector, training=False), mode='tensor')
    assert logits == [(NUM_CLASSES, torch.float32)] * 3
    copy.deepcopy(detector)
