"""RoI heads against loops over the equations, and against the traps of the authors' detection code."""
import copy
import math
from unittest import mock

import oracle
import pytest
import torch
from detectors import NUM_CLASSES, heads_of, losses, predict, small_detector, with_direction
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.testing import demo_mm_inputs
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.structures import InstanceData
from torch import nn
from torch.nn import functional as F

from mmcausal.analysis import ProposalStore, detect_again, iterate_proposals
from mmcausal.models import DetectionDeconfoundLinear, TDEDetectorTTA, enable_detector_tde
from mmcausal.models.roi_heads.tde_roi_heads import class_probs, class_scores, foreground_mask

TDE = ['cascade_tde_r101', 'htc_tde_r101', 'mask-rcnn_tde_r50', 'cascade_seesaw-tde_r101']
# What MMDetection's own HTC has beside the paper's
SEMANTIC_BRANCH = dict(
    semantic_roi_extractor=dict(
        type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0), out_channels=16,
        featmap_strides=[8]),
    semantic_head=dict(
        type='FusedSemanticHead', num_ins=5, fusion_level=1, seg_scale_factor=1 / 8, num_convs=1, in_channels=16,
        conv_out_channels=16, num_classes=10, loss_seg=dict(type='CrossEntropyLoss', ignore_index=255)))


@pytest.fixture
def recorded():
    """Each box head and the labels (N,) that its loss was given, in the order of the calls."""
    calls = []
    loss = BBoxHead.loss

    def recording_loss(self, cls_score, bbox_pred, rois, labels, *args, **kwargs):
        calls.append((self, labels.clone()))
        return loss(self, cls_score, bbox_pred, rois, labels, *args, **kwargs)

    with mock.patch.object(BBoxHead, 'loss', recording_loss):
        yield calls


@pytest.mark.parametrize('name', TDE)
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


@pytest.mark.parametrize('name', TDE)
def test_training_and_inference_with_masks(name):
    detector = small_detector(name)
    total, log = losses(detector)
    total.backward()
    assert all(head.fc_cls.weight.grad.isfinite().all() for head in heads_of(detector))
    for sample in predict(with_direction(detector, 1.5)):
        result = sample.pred_instances
        assert len(result.masks) == len(result.scores) == len(result.labels) > 0
        assert (0 <= result.scores).all() and (result.scores <= 1).all()


def given_to_nms(detector):
    """The probabilities (N, C + 1) that the last box head takes to NMS, and per stage the classifier's input."""
    probs, features = [], [[] for _ in heads_of(detector)]
    for xs, head in zip(features, heads_of(detector)):
        head.fc_cls.register_forward_pre_hook(lambda layer, args, xs=xs: xs.append(args[0]))
    head = heads_of(detector)[-1]
    by_feat = head._predict_by_feat_single

    def recording(roi, cls_score, *args, **kwargs):
        probs.append(class_probs(head, cls_score))
        return by_feat(roi, cls_score, *args, **kwargs)

    with mock.patch.object(head, '_predict_by_feat_single', recording):
        predict(detector)
    return torch.cat(probs), [torch.cat(xs) for xs in features]


def stage_probs(layer, x, alpha):
    """Eq. 9 (Eq. 7 for alpha 0) by the oracle, in float64: (N, C + 1)."""
    args = [x.double().tolist(), layer.weight.double().tolist(), layer.mean_feature.double().tolist()]
    logits = oracle.tde_logits(*args, 0., 2, 16., 1 / 32, 'deconfound')
    tde = oracle.tde_logits(*args, alpha, 2, 16., 1 / 32, 'deconfound')
    return torch.tensor([oracle.exempted_probs(z, t, -1) for z, t in zip(logits, tde)], dtype=torch.float64)


@pytest.mark.parametrize('name, roi_head', [(name, {}) for name in TDE[:3]] + [('htc_tde_r101', SEMANTIC_BRANCH)])
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


@pytest.mark.parametrize('name', TDE)
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


@pytest.mark.parametrize('name', TDE)
@pytest.mark.parametrize('empty', [(0, 1), (0, )])
def test_no_proposals(name, empty):
    """An RPN without proposals, for both images or for the first alone."""
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


@pytest.mark.parametrize('name', TDE)
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


# Losses


@ROOT_MODELS.register_module(force=True)
class SoftmaxFocalLoss(nn.Module):
    """A loss on C + 1 logits from outside any host."""
    use_sigmoid = False

    def forward(self, cls_score, label, weight=None, avg_factor=None, reduction_override=None):
        loss = F.cross_entropy(cls_score, label, reduction='none')
        return ((1 - (-loss).exp())**2 * loss).sum() / avg_factor


def test_any_loss_on_softmax_logits():
    detector = small_detector('cascade_tde_r101', bbox_head=dict(loss_cls=dict(type='SoftmaxFocalLoss')))
    assert losses(detector)[0].isfinite()


def test_equalization_loss():
    detector = small_detector('cascade_tde_r101', bbox_head=dict(loss_cls=dict(type='mmcausal.EqualizationLoss')))
    for head in heads_of(detector):
        head.loss_cls.set_class_counts([1000, 500, 50, 20, 5, 2])
    assert losses(detector)[0].isfinite()
    assert predict(with_direction(detector, 1.5))[0].pred_instances.scores.isfinite().all()


@pytest.mark.parametrize('loss, words', [
    (dict(type='CrossEntropyLoss', use_sigmoid=True), 'needs a softmax .* CrossEntropyLoss has use_sigmoid=True'),
    (dict(type='EQLV2Loss', num_classes=NUM_CLASSES), 'EQLV2Loss'),
    (dict(type='CrossEntropyCustomLoss', use_sigmoid=False, num_classes=NUM_CLASSES), 'activation of its own'),
])
def test_losses_without_a_softmax_are_refused(loss, words):
    with pytest.raises(ValueError, match=words):
        small_detector('cascade_tde_r101', bbox_head=dict(loss_cls=loss))


def test_bad_classifier_arguments():
    with pytest.raises(ValueError, match='do not split into 3'):
        small_detector('cascade_tde_r101', classifier=dict(num_heads=3))
    with pytest.raises(ValueError, match='alpha must be'):
        small_detector('cascade_tde_r101', classifier=dict(alpha=-1))


def test_tde_without_direction_is_an_error():
    detector = small_detector('cascade_tde_r101')
    with pytest.raises(RuntimeError, match='HeadDirectionHook.*estimate_direction'):
        predict(detector)


def test_checkpoint_with_other_stages_is_refused():
    cascade, single = small_detector('cascade_tde_r101'), small_detector('mask-rcnn_tde_r50')
    two = small_detector('cascade_tde_r101')
    state = {k: v for k, v in cascade.state_dict().items() if 'bbox_head.2' not in k}
    with pytest.raises(ValueError, match=r'bbox_head.2.fc_cls.weight has shape \(7, 32\) here, but is not in the'):
        two.load_state_dict(state, strict=False)
    with pytest.raises(ValueError, match=r'bbox_head.0.fc_cls.weight has shape \(7, 32\) here, but is not .* and 1'):
        two.load_state_dict(single.state_dict(), strict=False)
    two.load_state_dict({k: v for k, v in state.items() if 'roi_head' not in k}, strict=False)  # e.g. a backbone


# The authors' traps: what their port does, and that this one does not


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


def test_trap_a_batch_without_foreground_is_no_nan():
    layer = DetectionDeconfoundLinear(8, NUM_CLASSES + 1)
    assert torch.randn(4, 8)[torch.zeros(4, dtype=torch.bool)].mean(0).isnan().all()  # theirs, for ever
    with layer.observing(torch.zeros(4, dtype=torch.bool)):
        layer(torch.randn(4, 8))
    layer.update_direction(0.9)
    assert not layer.mean_feature.any() and layer.num_updates == 0


def test_trap_the_direction_stays_on_its_device():
    """Theirs goes to the CPU in every iteration, which a meta device, whose values nobody can read, would not allow."""
    layer = DetectionDeconfoundLinear(8, NUM_CLASSES + 1, device='meta')
    with layer.observing(torch.ones(4, dtype=torch.bool, device='meta')):
        layer(torch.randn(4, 8, device='meta'))
    layer.update_direction(0.9)
    assert layer.mean_feature.device.type == 'meta'


def test_trap_a_zero_feature_or_direction_is_finite():
    layer = DetectionDeconfoundLinear(8, NUM_CLASSES + 1, alpha=1.5)
    x = torch.cat([torch.zeros(1, 8), torch.randn(2, 8)])
    theirs = x / x.norm(dim=1, keepdim=True)
    assert theirs[0].isnan().all()
    layer.eval().mean_feature[4:] = 1.  # the first head has no direction
    scores = layer(x)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(3))


def test_scores_of_a_certain_background_are_probabilities():
    for name in ('cascade_tde_r101', 'cascade_seesaw-tde_r101'):
        head = heads_of(small_detector(name))[-1]
        certain = torch.zeros(1, NUM_CLASSES + 1)
        certain[0, -1] = 1.
        torch.testing.assert_close(class_probs(head, class_scores(head, certain)), certain)


# Detectors trained without this package


@pytest.mark.parametrize('name', ['cascade_baseline_r101', 'htc_baseline_r101', 'mask-rcnn_baseline_r50'])
@pytest.mark.parametrize('predictor', [dict(type='Linear'), dict(type='NormedLinear', tempearture=20)])
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


def test_what_has_no_tde_is_refused():
    with pytest.raises(ValueError, match='needs a roi_head of type'):
        enable_detector_tde(nn.Module(), 1.)
    detector = small_detector('cascade_baseline_r101')
    detector.roi_head.bbox_head[0].fc_cls = nn.Conv2d(1, 1, 1)
    with pytest.raises(ValueError, match='NormedLinear of power 1'):
        enable_detector_tde(detector, 1.)
    with pytest.raises(ValueError, match='alpha must be'):
        TDEDetectorTTA(small_detector('cascade_tde_r101'), alpha='best')


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


# Another alpha from stored proposals


def one_image(seed=0):
    data = demo_mm_inputs(1, (3, 96, 128), [4], NUM_CLASSES)
    data['inputs'] = [torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8, generator=torch.manual_seed(seed))]
    data['data_samples'][0].set_metainfo(dict(scale_factor=(1., 1.), img_id=seed))
    return data


@pytest.mark.parametrize('name', TDE)
def test_detecting_again_equals_detecting(name, tmp_path):
    detector = with_direction(small_detector(name), 1.)
    store = ProposalStore(tmp_path, dict(checkpoint='abc'), 'float32')
    for proposals in iterate_proposals(detector, [one_image(0), one_image(1)]):
        store.append(proposals)
    assert detector.roi_head.with_mask and len(store) == 2
    for seed, proposals in enumerate(store):
        for alpha in (0., 2.):
            again = detect_again(detector, proposals, alpha)
            for head in heads_of(detector):
                head.fc_cls.alpha = alpha
            expected = detector.test_step(one_image(seed))[0].pred_instances
            for key, value in again.items():
                torch.testing.assert_close(value, expected[key], atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match='features of another checkpoint'):
        ProposalStore(tmp_path, dict(checkpoint='xyz'), 'float32')


def test_an_image_without_proposals_stays_so():
    detector = with_direction(small_detector('cascade_tde_r101'), 1.)
    with mock.patch.object(detector.rpn_head, 'predict', lambda *args, **kwargs: [InstanceData(
            bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long())]):
        proposals, = iterate_proposals(detector, [one_image()])
    assert detect_again(detector, proposals, 2.)['bboxes'].shape == (0, 4)


def test_boxes_that_depend_on_alpha_cannot_be_stored():
    specific = small_detector('cascade_tde_r101', bbox_head=dict(reg_class_agnostic=False))
    with pytest.raises(ValueError, match='class-specific boxes'):
        next(iterate_proposals(specific, []))
    with pytest.raises(ValueError, match='got CascadeRoIHead; enable_detector_tde'):
        next(iterate_proposals(small_detector('cascade_baseline_r101'), []))


def test_whole_numbers_are_alphas_too():
    """As the host's command line gives them: alpha=1 is the integer 1."""
    whole, real = (with_direction(small_detector('cascade_tde_r101'), 0.) for _ in range(2))
    enable_detector_tde(whole, 1)
    enable_detector_tde(real, 1.)
    assert [head.fc_cls.resolved_alpha() for head in heads_of(whole)] == [1.] * 3
    for a, b in zip(predict(whole), predict(real)):
        assert torch.equal(a.pred_instances.scores, b.pred_instances.scores)


def test_a_refused_detector_stays_as_it_was():
    detector = small_detector('cascade_baseline_r101', bbox_head=dict(
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True)))
    before = [type(detector.roi_head)] + [head.fc_cls for head in heads_of(detector)]
    with pytest.raises(ValueError, match='use_sigmoid=True'):
        enable_detector_tde(detector, 1.)
    assert before == [type(detector.roi_head)] + [head.fc_cls for head in heads_of(detector)]
