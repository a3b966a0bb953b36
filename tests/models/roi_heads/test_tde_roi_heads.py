"""RoI heads against loops over the equations, and against the traps of the authors' detection code."""
import copy
import math
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from helpers import oracle
from helpers.detectors import (
    NUM_CLASSES,
    TDE_CONFIGS,
    given_to_nms,
    heads_of,
    losses,
    predict,
    small_detector,
    small_model_cfg,
    with_direction,
)
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.utils import register_all_modules

from mmcausal.hooks import HeadDirectionHook
from mmcausal.models import DetectionDeconfoundLinear, TDELinear
from mmcausal.models.roi_heads.tde_roi_heads import class_probs, class_scores, foreground_mask
from mmcausal.registry import MODELS

# The branch of MMDetection's own HTC; the paper trains without it
SEMANTIC_BRANCH = dict(
    semantic_roi_extractor=dict(
        type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0), out_channels=16,
        featmap_strides=[8]),
    semantic_head=dict(
        type='FusedSemanticHead', num_ins=5, fusion_level=1, seg_scale_factor=1 / 8, num_convs=1, in_channels=16,
        conv_out_channels=16, num_classes=10, loss_seg=dict(type='CrossEntropyLoss', ignore_index=255)))


@pytest.fixture
def recorded():
    """Each box head and the labels (N,) of its loss, in the order of the calls."""
    calls = []
    loss = BBoxHead.loss

    def recording_loss(self, cls_score, bbox_pred, rois, labels, *args, **kwargs):
        calls.append((self, labels.clone()))
        return loss(self, cls_score, bbox_pred, rois, labels, *args, **kwargs)

    with mock.patch.object(BBoxHead, 'loss', recording_loss):
        yield calls


@pytest.mark.parametrize('name', TDE_CONFIGS)
def test_only_foreground_moves_the_direction_of_each_stage(name, recorded):
    detector = small_detector(name)
    features = {}
    for head in heads_of(detector):
        head.fc_cls.register_forward_pre_hook(lambda layer, args: features.__setitem__(layer, args[0].detach()))
    masks = []
    observe = DetectionDeconfoundLinear.observe
    with mock.patch.object(DetectionDeconfoundLinear, 'observe',
                           lambda layer, x, mask: (masks.append(mask), observe(layer, x, mask))):
        total, log = losses(detector)
    assert total.isfinite() and len(recorded) == len(masks) == len(heads_of(detector))

    for (head, labels), mask in zip(recorded, masks):
        layer = head.fc_cls
        assert torch.equal(mask, (labels >= 0) & (labels < NUM_CLASSES))  # the host's own labels
        assert (labels == 0).any() and (labels == NUM_CLASSES).any()
        expected, count = torch.zeros(layer.in_features), 0
        for x, label in zip(features[layer], labels.tolist()):
            if 0 <= label < NUM_CLASSES:
                expected, count = expected + x, count + 1
        layer.update_direction(0.)
        torch.testing.assert_close(layer.mean_feature, expected / count)
    directions = [head.fc_cls.mean_feature for head in heads_of(detector)]
    assert all(not torch.equal(a, b) for a, b in zip(directions, directions[1:]))


@pytest.mark.parametrize('name', TDE_CONFIGS)
def test_training_and_inference_with_masks(name):
    detector = small_detector(name)
    total, log = losses(detector)
    total.backward()
    assert all(head.fc_cls.weight.grad.isfinite().all() for head in heads_of(detector))
    for sample in predict(with_direction(detector, 1.5)):
        result = sample.pred_instances
        assert len(result.masks) == len(result.scores) == len(result.labels) > 0
        assert (0 <= result.scores).all() and (result.scores <= 1).all()


def stage_probs(layer, x, alpha):
    """Eq. 9 (Eq. 7 for alpha 0) by the oracle, in float64: (N, C + 1)."""
    args = [x.double().tolist(), layer.weight.double().tolist(), layer.mean_feature.double().tolist()]
    logits = oracle.tde_logits(*args, 0., 2, 16., 1 / 32, 'deconfound')
    tde = oracle.tde_logits(*args, alpha, 2, 16., 1 / 32, 'deconfound')
    return torch.tensor([oracle.exempted_probs(z, t, -1) for z, t in zip(logits, tde)], dtype=torch.float64)


@pytest.mark.parametrize('name, roi_head', [*((name, {}) for name in TDE_CONFIGS[:3]),
                                            ('htc_tde_r101', SEMANTIC_BRANCH)])
@pytest.mark.parametrize('alpha', [0., 1.5])
def test_scores_are_the_mean_of_the_stages_exempted_probabilities(name, roi_head, alpha):
    detector = with_direction(small_detector(name, **roi_head), alpha)
    probs, features = given_to_nms(detector)
    stages = [stage_probs(head.fc_cls, x, alpha) for head, x in zip(heads_of(detector), features)]
    expected = sum(stages) / len(stages)
    torch.testing.assert_close(probs.double(), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(probs.sum(1), torch.ones(len(probs)))
    factual = [stage_probs(head.fc_cls, x, 0.) for head, x in zip(heads_of(detector), features)]
    if len(stages) == 1:  # later stages of a cascade see other boxes
        torch.testing.assert_close(probs[:, -1].double(), factual[0][:, -1], atol=1e-6, rtol=0)


def test_htc_with_its_semantic_branch():
    detector = small_detector('htc_tde_r101', **SEMANTIC_BRANCH)
    total, log = losses(detector)
    assert 'loss_semantic_seg' in log and total.isfinite()
    result = predict(with_direction(detector, 1.5))[0].pred_instances
    assert len(result.masks) == len(result.scores) > 0


def test_without_exemption_the_background_takes_part():
    detector = with_direction(small_detector('mask-rcnn_tde_r50', classifier=dict(exempt_background=False)), 1.5)
    probs, (x, ) = given_to_nms(detector)
    layer = heads_of(detector)[0].fc_cls
    args = [x.tolist(), layer.weight.tolist(), layer.mean_feature.tolist()]
    expected = [oracle.softmax(row) for row in oracle.tde_logits(*args, 1.5, 2, 16., 1 / 32, 'deconfound')]
    torch.testing.assert_close(probs, torch.tensor(expected), atol=1e-5, rtol=1e-4)


def test_seesaw_keeps_its_objectness():
    detector = with_direction(small_detector('cascade_seesaw-tde_r101'), 1.5)
    layer, x = heads_of(detector)[0].fc_cls, torch.randn(5, 32)
    scores = layer(x)
    assert torch.equal(scores[:, -2:], layer.total_effect(x)[:, -2:])
    assert not torch.allclose(scores[:, :-2], layer.total_effect(x)[:, :-2])
    probs, features = given_to_nms(detector)
    torch.testing.assert_close(probs.sum(1), torch.ones(len(probs)))
    stages = [class_probs(head, head.fc_cls(x)) for head, x in zip(heads_of(detector), features)]
    torch.testing.assert_close(probs, sum(stages) / 3, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('name', ['cascade_tde_r101', 'cascade_seesaw-tde_r101'])
def test_class_scores_invert_class_probs(name):
    head = heads_of(small_detector(name))[0]
    probs = torch.randn(9, NUM_CLASSES + 1).softmax(1)
    torch.testing.assert_close(class_probs(head, class_scores(head, probs)), probs)


# Degenerate input


@pytest.mark.parametrize('name', TDE_CONFIGS)
def test_images_without_objects_leave_the_direction(name):
    detector = with_direction(small_detector(name), 1.5)
    before = copy.deepcopy(detector.state_dict())
    losses(detector, num_items=(0, 0))
    for head in heads_of(detector):
        head.fc_cls.update_direction(0.9)
        assert head.fc_cls.mean_feature.isfinite().all()
    changed = [k for k, v in detector.state_dict().items() if not torch.equal(v, before[k])]
    assert not [k for k in changed if 'fc_cls' in k]
    assert len(predict(detector, num_items=(0, 0))) == 2


@pytest.mark.parametrize('name', TDE_CONFIGS)
@pytest.mark.parametrize('empty', [(0, 1), (0, )])
def test_no_proposals(name, empty):
    """The RPN finds no proposals, in both images or in the first."""
    detector = with_direction(small_detector(name), 1.5)
    predict_rpn = detector.rpn_head.predict

    def without_proposals(*args, **kwargs):
        results = list(predict_rpn(*args, **kwargs))
        for image in empty:
            results[image] = results[image][:0]
        return results

    with mock.patch.object(detector.rpn_head, 'predict', without_proposals):
        samples = predict(detector)
    assert [len(sample.pred_instances) == 0 for sample in samples] == [0 in empty, 1 in empty]


def test_class_specific_boxes_are_those_of_the_first_class_by_tde():
    detector = small_detector('cascade_tde_r101', bbox_head=dict(reg_class_agnostic=False))
    assert losses(detector)[0].isfinite()
    with_direction(detector, 3.)
    features, labels = [], []
    layer, regress = heads_of(detector)[0].fc_cls, heads_of(detector)[0].regress_by_class
    layer.register_forward_pre_hook(lambda layer, args: features.append(args[0]))
    with mock.patch.object(heads_of(detector)[0], 'regress_by_class',
                           lambda rois, label, *args: (labels.append(label), regress(rois, label, *args))[1]):
        assert predict(detector)[0].pred_instances.bboxes.isfinite().all()
    args = [torch.cat(features).tolist(), layer.weight.tolist(), layer.mean_feature.tolist()]
    factual, tde = (torch.tensor(oracle.tde_logits(*args, alpha, 2, 16., 1 / 32, 'deconfound'))[:, :-1].argmax(1)
                    for alpha in (0., 3.))
    assert torch.equal(torch.cat(labels), tde) and not torch.equal(factual, tde)


@pytest.mark.parametrize('name', TDE_CONFIGS)
def test_autocast(name):
    """In the RoI head: on a CPU, the host's NMS of the RPN takes no bfloat16."""
    detector = small_detector(name).train()
    loss = detector.roi_head.loss
    with mock.patch.object(detector.roi_head, 'loss', torch.autocast('cpu', dtype=torch.bfloat16)(loss)):
        with_direction(detector, 1.5)
    for head in heads_of(detector):
        layer, x = head.fc_cls, torch.randn(7, 32)
        assert layer.mean_feature.isfinite().all() and layer.mean_feature.dtype == torch.float32
        with torch.autocast('cpu', dtype=torch.bfloat16):
            probs = class_probs(head, layer(x.bfloat16()))
        assert probs.dtype == torch.float32
        torch.testing.assert_close(probs.sum(1), torch.ones(7), atol=1e-5, rtol=0)
        torch.testing.assert_close(probs, class_probs(head, layer(x)), atol=2e-2, rtol=0)


# Traps of the authors' code, which these RoI heads avoid


def test_trap_foreground_is_not_label_above_zero():
    labels = torch.tensor([0, 3, NUM_CLASSES])
    theirs = labels > 0  # drops class 0, keeps the background
    result = mock.Mock(pos_gt_labels=labels[:2], neg_priors=torch.zeros(1, 4))
    ours = foreground_mask([result], NUM_CLASSES)
    assert theirs.tolist() == [False, True, True] and ours.tolist() == [True, True, False]


def test_trap_one_softmax_only():
    detector = with_direction(small_detector('cascade_tde_r101'), 1.5)
    with torch.no_grad():  # a classifier that is sure of itself
        for head in heads_of(detector):
            head.fc_cls.tau = 100.
    squeezed = math.e / (math.e + NUM_CLASSES)  # all that a second softmax leaves of certainty
    assert max(sample.pred_instances.scores.max() for sample in predict(detector)) > 1.5 * squeezed


def test_scores_of_a_certain_background_are_probabilities():
    for name in ('cascade_tde_r101', 'cascade_seesaw-tde_r101'):
        head = heads_of(small_detector(name))[-1]
        certain = torch.zeros(1, NUM_CLASSES + 1)
        certain[0, -1] = 1.
        torch.testing.assert_close(class_probs(head, class_scores(head, certain)), certain)


@pytest.mark.parametrize('outer', ['SoftTeacher', 'QDTrack'])
def test_a_detector_inside_another_model_validates(outer):
    register_all_modules()
    cfg = small_model_cfg('mask-rcnn_tde_r50')
    for part in ('mask_head', 'mask_roi_extractor'):
        cfg.roi_head.pop(part)
    cfg.train_cfg.rcnn.pop('mask_size', None)
    inner = dict(type='DetDataPreprocessor')
    cfg.pop('data_preprocessor', None)
    if outer == 'SoftTeacher':
        cfg.data_preprocessor = inner
        settings = dict(semi_train_cfg=dict(freeze_teacher=True), semi_test_cfg=dict(predict_on='teacher'),
                        data_preprocessor=dict(type='MultiBranchDataPreprocessor', data_preprocessor=inner))
    else:
        settings = dict(data_preprocessor=dict(type='TrackDataPreprocessor'))
    model = MODELS.build(dict(type=outer, detector=cfg, **settings))
    assert any(isinstance(layer, TDELinear) for layer in model.modules())
    HeadDirectionHook(momentum=0.9).before_val_epoch(SimpleNamespace(model=model))
