"""Detection with another alpha from stored proposals."""
from unittest import mock

import pytest
import torch
from helpers.detectors import NUM_CLASSES, TDE_CONFIGS, heads_of, small_detector, with_direction
from helpers.host_detectors import host_detector
from mmdet.testing import demo_mm_inputs
from mmengine.structures import InstanceData

from mmcausal.analysis import ProposalStore, detect_again, iterate_proposals


def one_image(seed=0):
    data = demo_mm_inputs(1, (3, 96, 128), [4], NUM_CLASSES)
    data['inputs'] = [torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8, generator=torch.manual_seed(seed))]
    data['data_samples'][0].set_metainfo(dict(scale_factor=(1., 1.), img_id=seed))
    return data


@pytest.mark.parametrize('name', TDE_CONFIGS)
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


@pytest.mark.parametrize('path', ['sabl/sabl-faster-rcnn_r50_fpn_1x_coco.py',
                                  'sabl/sabl-cascade-rcnn_r50_fpn_1x_coco.py',
                                  'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py'])
def test_detecting_again_with_the_box_heads_of_the_host(path, tmp_path):
    detector = with_direction(host_detector(path, tde=True), 1., steps=1)
    store = ProposalStore(tmp_path, dict(checkpoint='abc'), 'float32')
    store.append(next(iterate_proposals(detector, [one_image()])))
    again = detect_again(detector, next(iter(store)), 2.)
    for head in heads_of(detector):
        head.fc_cls.alpha = 2.
    expected = detector.test_step(one_image())[0].pred_instances
    assert len(expected)
    for key, value in again.items():
        torch.testing.assert_close(value, expected[key], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('path', ['grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco.py',
                                  'tridentnet/tridentnet_r50-caffe_1x_coco.py'])
def test_boxes_found_after_the_box_head_cannot_be_stored(path):
    with pytest.raises(ValueError, match='RoIHead finds its boxes after the box head'):
        next(iterate_proposals(host_detector(path, tde=True), []))
