"""Generated images of shapes in LVIS format."""
import json
from collections import Counter

import cv2
import numpy as np
import pytest
from helpers.data import read_files as read

from mmcausal.datasets.shapes import (
    SHAPES,
    lvis_categories,
    make_shapes_dataset,
    mask_polygons,
    object_counts,
    place_objects,
    plan_images,
    shape_classes,
)

SMALL = dict(num_train=30, num_val=8, num_classes=6, imbalance_ratio=30, image_size=160)


def decode(polygons, size):
    mask_utils = pytest.importorskip('pycocotools.mask')
    return mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects(polygons, size, size))).astype(bool)


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    return make_shapes_dataset(tmp_path_factory.mktemp('shapes'), **SMALL)


def test_default_plan_fills_every_group():
    for seed in range(3):
        counts = np.random.RandomState(seed).permutation(object_counts(300, 24, 100))
        plan = plan_images(counts, 300, np.random.RandomState(seed))
        assert np.bincount(np.concatenate(plan)).tolist() == counts.tolist()
        assert counts.max() >= 100 * counts.min() > 0
        assert 3 <= min(map(len, plan)) and max(map(len, plan)) <= 8
        categories = lvis_categories(shape_classes(24), plan, (10, 50))
        groups = Counter(category['frequency'] for category in categories)
        assert min(groups[group] for group in 'rcf') >= 5


def test_classes_share_textures_and_shapes():
    assert [len(set(names)) for names in zip(*shape_classes(24))] == [4, 6]
    assert [len(set(names)) for names in zip(*shape_classes(60))] == [6, 10]
    assert len(set(shape_classes(60))) == 60


def test_counts_are_as_planned(small):
    train, val = (json.loads(file.read_text()) for file in small)
    counts = Counter(annotation['category_id'] for annotation in train['annotations'])
    assert sorted(counts.values(), reverse=True) == object_counts(30, 6, 30)
    assert max(counts.values()) >= 30 * min(counts.values())
    assert [category['instance_count'] for category in train['categories']] == [counts[i] for i in range(1, 7)]
    assert val['categories'] == train['categories']
    assert len(set(Counter(annotation['category_id'] for annotation in val['annotations']).values())) == 1

    present = {image['id']: {annotation['category_id'] for annotation in train['annotations']
                             if annotation['image_id'] == image['id']} for image in train['images']}
    assert all(present[image['id']] ^ set(image['neg_category_ids']) == set(range(1, 7)) for image in train['images'])
    assert [category['image_count'] for category in train['categories']] == [
        sum(label in labels for labels in present.values()) for label in range(1, 7)]


def test_lvis_reads_the_files(small):
    lvis = pytest.importorskip('lvis')
    for file, num_images in zip(small, (30, 8)):
        data = lvis.LVIS(str(file))
        assert data.get_cat_ids() == list(range(1, 7)) and len(data.get_img_ids()) == num_images
        for image in data.load_imgs(data.get_img_ids()):
            path = file.parent.parent / image['coco_url'].replace('http://images.cocodataset.org/', '')
            assert cv2.imread(str(path)).shape == (image['height'], image['width'], 3)


def test_polygons_are_the_visible_pixels(small):
    annotations = [annotation for file in small for annotation in json.loads(file.read_text())['annotations']]
    for annotation in annotations:
        assert all(len(polygon) >= 6 for polygon in annotation['segmentation'])
        mask = decode(annotation['segmentation'], 160)
        assert mask.sum() == annotation['area']
        assert list(cv2.boundingRect(mask.astype(np.uint8))) == annotation['bbox']


def test_polygons_of_masks_with_holes_and_thin_parts():
    mask = np.zeros((40, 40), bool)
    mask[5:30, 5:30] = True
    mask[10:20, 8:12] = mask[12:14, 20:21] = mask[18:25, 18:26] = False
    mask[20:22, 20:22] = mask[35, 3:9] = mask[37, 37] = True
    np.testing.assert_array_equal(decode(mask_polygons(mask), 40), mask)
    assert mask_polygons(np.zeros((4, 4), bool)) == []


@pytest.mark.parametrize('image_size', [160, 320])
def test_at_least_half_of_every_object_is_visible(image_size):
    rng = np.random.RandomState(0)
    for _ in range(10):
        shapes = rng.choice(list(SHAPES), 8)
        poses, owner = place_objects(shapes, image_size, rng)
        for number, (shape, pose) in enumerate(zip(shapes, poses), 1):
            mask = SHAPES[shape](*pose.coordinates())
            assert mask.shape == owner[pose.window].shape and 28 <= pose.side <= 110
            assert 2 * (owner == number).sum() >= mask.sum() > 0


def test_the_seed_decides_everything(small, tmp_path):
    again, other = tmp_path / 'again', tmp_path / 'other'
    make_shapes_dataset(again, **SMALL)
    make_shapes_dataset(str(other), seed=1, **SMALL)
    first = read(small[0].parent.parent)
    assert read(again) == first
    assert read(other).keys() == first.keys()
    assert all(content != first[path] for path, content in read(other).items())


@pytest.mark.parametrize('change, words', [
    (dict(num_classes=1), r'num_classes must be in \[2, 60\], but got 1'), (dict(num_classes=61), 'got 61'),
    (dict(imbalance_ratio=100),
     r'imbalance_ratio must be a number in \[1, \d+\], so that every class keeps .*, but got 100'),
    (dict(imbalance_ratio=0), r'imbalance_ratio must be a number in \[1, inf\), but got 0'),
    (dict(imbalance_ratio=float('nan')), 'imbalance_ratio'), (dict(imbalance_ratio=float('inf')), 'imbalance_ratio'),
    (dict(num_train=5), '6 classes need at least as many images in each split, but got 5'), (dict(num_val=0), 'got 0'),
    (dict(image_size=159), 'image_size must be an integer of at least 160, but got 159'),
    (dict(frequency_bounds=(10, 5)), r'frequency_bounds must be two ascending numbers of images, but got \(10, 5\)')])
def test_bad_input_writes_nothing(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        make_shapes_dataset(tmp_path, **dict(SMALL, **change))
    assert not list(tmp_path.iterdir())


def test_no_room_for_the_objects():
    with pytest.raises(ValueError, match='image_size 112 leaves no room for 40 half visible objects'):
        place_objects(['disc'] * 40, 112, np.random.RandomState(0))
