"""Detection with another alpha from stored proposals."""
from unittest import mock

import numpy as np
import pytest
import torch
from helpers.detectors import NUM_CLASSES, TDE_CONFIGS, heads_of, small_detector, with_direction
from helpers.host_detectors import host_detector
from helpers.wrong_files import write_wrong_proposals
from mmdet.testing import demo_mm_inputs
from mmengine.structures import InstanceData

from mmcausal.analysis import ProposalStore, detect_again, iterate_proposals
from mmcausal.analysis.proposal_files import Proposals


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
    with pytest.raises(ValueError, match='got LabelMaskCascadeRoIHead; enable_detector_tde'):
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


META = dict(img_id=7, img_path='wörk/\udcff.jpg', ori_shape=(96, 128), scale_factor=(1.25, 0.1), flip=False,
            flip_direction=None, padding=[[1, 2], [3]])


def stored(folder, bbox_pred, features=3, meta=META):
    """Return proposals after they were written and read."""
    rois = None if bbox_pred is None else torch.rand(3, 5)
    proposals = Proposals(features=[torch.rand(3, 4) for _ in range(features)] if features else [], rois=rois,
                          bbox_pred=bbox_pred, img_meta=meta)
    store = ProposalStore(folder, dict(checkpoint='abc'), 'float32')
    store.append(proposals)
    return proposals, list(ProposalStore(folder, dict(checkpoint='abc'), 'float32'))[-1]


@pytest.mark.parametrize('bbox_pred', [torch.rand(3, 4), torch.rand(3, 4).half(), (torch.rand(3, 2), torch.rand(3, 9))])
def test_proposals_are_read_as_they_were_written(tmp_path, bbox_pred):
    written, read = stored(tmp_path, bbox_pred)
    assert read['img_meta'] == dict(META, padding=((1, 2), (3, )))  # lists become tuples
    assert type(read['bbox_pred']) is type(bbox_pred) and torch.equal(read['rois'], written['rois'])
    for one, other in zip([*written['features'], *written['bbox_pred']], [*read['features'], *read['bbox_pred']]):
        assert one.dtype == other.dtype and torch.equal(one, other)
    assert {path.suffix for path in tmp_path.iterdir()} == {'.json', '.npz'}
    for path in tmp_path.glob('*.npz'):
        with np.load(path, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype != object for name in arrays.files)


def test_an_image_without_proposals_is_stored(tmp_path):
    _, read = stored(tmp_path, None, features=0)
    assert read['rois'] is None and read['bbox_pred'] is None and read['features'] == []


def test_arrays_in_the_meta_information_become_tuples(tmp_path):
    meta = dict(scale_factor=np.array([0.5, 2.]), img_id=np.int64(3), matrix=np.eye(2), path=tmp_path)
    _, read = stored(tmp_path / 'store', None, features=0, meta=meta)
    assert read['img_meta'] == dict(scale_factor=(0.5, 2.), img_id=3, matrix=((1., 0.), (0., 1.)), path=str(tmp_path))


@pytest.mark.parametrize('name, words', [
    ('cut', '00000001.npz is damaged: BadZipFile'),
    ('text', '00000001.npz is damaged: ValueError'),
    ('objects', '00000001.npz is damaged: ValueError.*allow_pickle=False'),
    ('shapes', r'features of 3 proposals must have shape \(3, D\), but got \[\(2, 4\), \(3, 4\)'),
    ('gap', 'it lacks 00000000.npz'),
    ('old', 'must hold proposals as .npz files, but has .pt files of an earlier release')])
def test_damaged_and_old_stores_are_named(tmp_path, name, words):
    for _ in range(2):
        stored(tmp_path / 'store', torch.rand(3, 4))
    write_wrong_proposals(tmp_path)
    with pytest.raises(ValueError, match=f'store_{name}.*{words}'):
        list(ProposalStore(tmp_path / f'store_{name}', dict(checkpoint='abc'), 'float32'))
    assert not (tmp_path / 'ran').exists()


def test_every_flipped_byte_of_a_file_is_noticed(tmp_path):
    """Damage within the arrays is found by the check sums of the archive."""
    stored(tmp_path, torch.rand(3, 4), meta=dict(img_id=1))
    path = tmp_path / '00000000.npz'
    content = path.read_bytes()
    with np.load(path) as arrays:
        start = content.index(arrays['rois'].tobytes())
    for offset in range(0, 60, 4):
        damaged = bytearray(content)
        damaged[start + offset] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match='00000000.npz is damaged'):
            list(ProposalStore(tmp_path, dict(checkpoint='abc'), 'float32'))


@pytest.mark.parametrize('text', ['{', '[]', '1', '"a"', 'null', ''])
def test_a_damaged_identity_is_named(tmp_path, text):
    stored(tmp_path, torch.rand(3, 4))
    (tmp_path / 'identity.json').write_text(text)
    with pytest.raises(ValueError, match='identity.json is damaged'):
        ProposalStore(tmp_path, dict(checkpoint='abc'), 'float32')
    assert (tmp_path / 'identity.json').read_text() == text


def test_features_that_are_not_finite_are_refused(tmp_path):
    features = torch.rand(3, 4)
    features[1, 2] = 7e4  # float16 ends at 65504
    store = ProposalStore(tmp_path / 'float16', dict(checkpoint='abc'))
    store.append(Proposals(features=[torch.rand(3, 4)], rois=None, bbox_pred=None, img_meta={}))
    with pytest.raises(ValueError, match='the features of image 1 are not finite in float16'):
        store.append(Proposals(features=[torch.rand(3, 4), features], rois=None, bbox_pred=None, img_meta={}))
    assert len(store) == 1


def test_boxes_without_regression_are_the_proposals():
    detector = with_direction(small_detector('mask-rcnn_tde_r50', bbox_head=dict(with_reg=False)), 1.)
    proposals, = iterate_proposals(detector, [one_image()])
    assert proposals['bbox_pred'] is None and len(proposals['rois'])
    expected, again = detector.test_step(one_image())[0].pred_instances, detect_again(detector, proposals, 1.)
    assert len(again['bboxes'])
    for key, value in again.items():
        torch.testing.assert_close(value, expected[key], atol=1e-4, rtol=1e-4)
