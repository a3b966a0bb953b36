"""Boxes by total effect beside those by TDE: those of a detector with alpha = 0, in one pass."""
import pytest
import torch
from helpers.coco_data import coco_samples, coco_truth, write_truth
from helpers.detectors import TDE_CONFIGS, heads_of, predict, small_detector, with_direction
from helpers.lvis_data import evaluate, random_samples
from helpers.runners import coco_cfg, shapes_cfg
from mmdet.structures import DetDataSample
from mmengine.runner import Runner

from mmcausal.evaluation import CocoMetric, LVISMetric
from mmcausal.models.roi_heads.total_effect import DetectionTotalEffectRecorder


def trained(name, alpha=2., **changes):
    detector = small_detector(name, **changes)
    with torch.no_grad():
        for head in heads_of(detector):
            head.fc_cls.weight.mul_(20)
    return with_direction(detector, alpha)


def assert_same_boxes(found, expected):
    assert len(found) == len(expected) > 0
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.bboxes, expected.bboxes, atol=1e-2, rtol=1e-4)
    assert torch.equal(found.labels, expected.labels)


@pytest.mark.parametrize('name', TDE_CONFIGS)
@pytest.mark.parametrize('with_masks', [True, False])
def test_boxes_are_those_of_alpha_zero(name, with_masks):
    detector = trained(name)
    if not with_masks:
        detector.roi_head.mask_head = None
    alone = predict(detector)
    recorder = DetectionTotalEffectRecorder(detector)
    both = predict(detector)
    recorder.remove()
    for head in heads_of(detector):
        assert head.fc_cls.alpha == 2.
        head.fc_cls.alpha = 0.
    total_effect = predict(detector)
    for sample, tde, factual in zip(both, alone, total_effect):
        assert_same_boxes(sample.pred_instances, tde.pred_instances)
        assert_same_boxes(sample.total_effect_instances, factual.pred_instances)
        assert not torch.equal(tde.pred_instances.scores, factual.pred_instances.scores)
        assert 'total_effect_instances' not in tde and 'total_effect_instances' not in factual


def test_nothing_is_added_without_tde():
    detector = trained('cascade_tde_r101', alpha=0.)
    DetectionTotalEffectRecorder(detector)
    assert not any('total_effect_instances' in sample for sample in predict(detector))


def test_removed_recorder_leaves_no_trace():
    detector = trained('cascade_tde_r101')
    before = [(vars(module).keys(), len(module._forward_hooks), len(module._forward_pre_hooks))
              for module in detector.modules()]
    DetectionTotalEffectRecorder(detector).remove()
    assert before == [(vars(module).keys(), len(module._forward_hooks), len(module._forward_pre_hooks))
                      for module in detector.modules()]


def test_images_without_proposals():
    detector = trained('mask-rcnn_tde_r50')
    detector.test_cfg.rpn.max_per_img = detector.test_cfg.rpn.nms_pre = 0
    DetectionTotalEffectRecorder(detector)
    for sample in predict(detector):
        assert len(sample.total_effect_instances) == len(sample.pred_instances) == 0


def test_boxes_that_depend_on_alpha_are_not_compared():
    detector = trained('cascade_tde_r101', bbox_head=dict(reg_class_agnostic=False))
    DetectionTotalEffectRecorder(detector)
    assert not any('total_effect_instances' in sample for sample in predict(detector))


@pytest.mark.parametrize('kind', ['coco', 'lvis'])
def test_metrics_of_both(kind, tmp_path):
    def metric(names):
        if kind == 'coco':
            return CocoMetric(ann_file=ann_file, metric=names, class_counts=[5, 5, 50, 50, 500, 500], classwise=True)
        return LVISMetric(ann_file, names, classwise=True)

    def result(names, samples):
        own = metric(names)
        own.dataset_meta = dict(classes=tuple(category['name'] for category in truth['categories']))
        return evaluate(own, samples)

    truth = coco_truth() if kind == 'coco' else lvis_truth()
    ann_file = write_truth(tmp_path / 'truth.json', truth)
    make = coco_samples if kind == 'coco' else random_samples
    tde, total_effect = make(truth, 0), make(truth, 1)
    both = [dict(sample, total_effect_instances=other['pred_instances']) for sample, other in zip(tde, total_effect)]
    found = result(['bbox', 'segm'], both)
    expected = result(['bbox', 'segm'], tde)
    expected.update({name.replace('/', '/total_effect_'): value
                     for name, value in result(['bbox'], total_effect).items()})
    assert found == pytest.approx(expected, nan_ok=True)
    assert f'{kind}/total_effect_bbox_APr' in found and not any('total_effect_segm' in name for name in found)


def lvis_truth():
    from helpers.lvis_data import small_truth
    truth = small_truth()
    for annotation in truth['annotations']:
        annotation.setdefault('iscrowd', 0)
    return truth


@pytest.mark.parametrize('kind', ['coco', 'lvis'])
def test_validation_reports_both_and_a_test_one(kind, shapes, tmp_path):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path)
    if kind == 'coco':
        classes = Runner.from_cfg(cfg).val_dataloader.dataset.metainfo['classes'][:8]
        cfg = coco_cfg('cascade_tde_r18', shapes, tmp_path, tuple(classes))
    cfg.model.roi_head.classifier = dict(alpha=1e3)
    cfg.model.test_cfg.rcnn.score_thr = 0.
    runner = Runner.from_cfg(cfg)
    runner.train()
    metrics = runner.val_loop.run()
    ap = 'bbox_mAP' if kind == 'coco' else 'bbox_AP'
    assert {f'{kind}/{ap}', f'{kind}/total_effect_{ap}', f'{kind}/total_effect_bbox_APr'} <= set(metrics)
    assert not any('total_effect' in name for name in runner.test())


def test_a_validation_worse_by_tde_names_the_command(shapes, tmp_path, monkeypatch):
    from mmcausal.hooks import HeadDirectionHook
    runner = Runner.from_cfg(shapes_cfg('cascade_tde_r18', shapes, tmp_path))
    for head in heads_of(runner.model):
        head.fc_cls.alpha = 1.5
    told = []
    monkeypatch.setattr(runner.logger, 'warning', told.append)
    hook = HeadDirectionHook()
    hook.after_val_epoch(runner, {'lvis/bbox_AP': 0.1, 'lvis/total_effect_bbox_AP': 0.12})
    hook.after_val_epoch(runner, {'lvis/bbox_AP': 0.12, 'lvis/total_effect_bbox_AP': 0.12})
    message, = told
    assert message.startswith('TDE with alpha=1.5 is worse here than the total effect (alpha=0): AP 0.1000 against '
                              '0.1200. Choose alpha on held-out images: python tools/analysis/sweep_detector_alpha.py')


def test_predictions_without_boxes_stay_so():
    """As those of a panoptic detector, of an image without a proposal."""
    detector = with_direction(small_detector('mask-rcnn_tde_r50'), 1.).eval()
    recorder = DetectionTotalEffectRecorder(detector)
    sample = DetDataSample()
    recorder._attach(detector, (), [sample])
    assert sample.keys() == []
