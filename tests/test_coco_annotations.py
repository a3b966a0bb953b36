"""Annotation files in COCO format: training images by category."""
import json

import numpy as np
import pytest
from mmdet.datasets import CocoDataset

from mmcausal.coco_annotations import (
    check_category_order,
    hold_out_images,
    image_counts,
    images_by_category,
    load_annotations,
    split_annotations,
)

CONTENT = dict(
    images=[dict(id=i) for i in (4, 9, 2)],
    categories=[dict(id=90, name='zebra'), dict(id=3, name='a cup'), dict(id=7, name='é')],
    annotations=[dict(id=5, image_id=4, category_id=3), dict(id=1, image_id=4, category_id=3, iscrowd=0),
                 dict(id=8, image_id=9, category_id=3), dict(id=2, image_id=2, category_id=7, iscrowd=1),
                 dict(id=3, image_id=2, category_id=90), dict(id=4, image_id=9, category_id=90, ignore=1)])


def test_images_and_not_annotations_are_counted(tmp_path):
    file = tmp_path / 'train.json'
    file.write_text(json.dumps(CONTENT))
    content = load_annotations(str(file))
    assert list(image_counts(content).items()) == [('zebra', 1), ('a cup', 2), ('é', 0)]
    assert images_by_category(content) == {90: {2}, 3: {4, 9}, 7: set()}


def test_classes_are_categories_in_their_order():
    names = ['zebra', 'a cup', 'é']
    for classes in (names, ['zebra', 'é'], ('é', ), ()):
        check_category_order(names, classes, 'x.json')
    with pytest.raises(ValueError, match="x.json has the order 'zebra', 'é', and the dataset 'é', 'zebra'"):
        check_category_order(names, ['é', 'zebra'], 'x.json')
    with pytest.raises(ValueError, match="x.json must have .* but has none named 'e'; it has 'zebra', 'a cup', 'é'"):
        check_category_order(names, ['zebra', 'e'], 'x.json')
    with pytest.raises(ValueError, match="has the order 'a', 'a'"):  # two categories of one name would be two labels
        check_category_order(['a', 'a'], ['a'], 'x.json')
    with pytest.raises(ValueError, match="'n19' and 5 more$"):
        check_category_order([f'n{i}' for i in range(25)], ['x'], 'x.json')


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='train_ann_file must be .* but there is no nowhere.json'):
        load_annotations('nowhere.json', 'train_ann_file')
    for text, words in (('{', 'is not JSON'), ('3', 'has no list of images'), ('{"images": []}', 'list of categories')):
        (tmp_path / 'x.json').write_text(text)
        with pytest.raises(ValueError, match=words):
            load_annotations(str(tmp_path / 'x.json'))


def random_content(seed, num_images=60):
    """Return images of several categories, long-tailed, with crowds, empty images and an unused category."""
    rng = np.random.default_rng(seed)
    categories = [dict(id=10 * k, name=f'k{k}') for k in range(1, 8)]
    annotations = [dict(id=len(range(image)) + 1, image_id=image, category_id=10 * k, iscrowd=int(rng.random() < .1))
                   for image in range(0, 3 * num_images, 3) for k in range(1, 7) if rng.random() < 1.2 / k]
    return dict(images=[dict(id=i, file_name=f'{i}.jpg') for i in range(0, 3 * num_images, 3)], categories=categories,
                annotations=annotations)


@pytest.mark.parametrize('seed', range(5))
def test_held_out_images_are_enough_and_leave_some(seed):
    content = random_content(seed)
    images = images_by_category(content)
    wanted = dict.fromkeys(images, 3)
    held_out = hold_out_images(content, wanted, seed)
    assert held_out == hold_out_images(content, wanted, seed) != hold_out_images(content, wanted, seed + 1)
    train, test = split_annotations(content, held_out)
    assert {i['id'] for i in test['images']} == held_out and len(train['images']) + len(test['images']) == 60
    assert len(train['annotations']) + len(test['annotations']) == len(content['annotations'])
    for category, ids in images.items():
        if ids:
            assert len(images_by_category(test)[category]) >= 3 and images_by_category(train)[category]
    rarest = min((ids for ids in images.values() if ids), key=len)
    assert len(rarest & held_out) == 3  # balanced where images allow it: the rarest chooses first
    assert len(held_out) <= 18


def test_what_the_rarest_category_can_spare():
    content = random_content(0)
    rarest = min(filter(None, images_by_category(content).values()), key=len)
    number = len(rarest)
    with pytest.raises(ValueError, match=f'has {number} training images and can spare {number - 1}, but got {number}'):
        hold_out_images(content, dict.fromkeys(range(10, 80, 10), number))
    # The only image of one category is an image of the other too: one of those two cannot be spared.
    together = dict(images=[dict(id=1), dict(id=2)], categories=CONTENT['categories'], annotations=[
        dict(image_id=1, category_id=3), dict(image_id=1, category_id=7), dict(image_id=2, category_id=7)])
    assert hold_out_images(together, {3: 0, 7: 1}) == {2}
    together['annotations'][2]['category_id'] = 3
    together['annotations'].append(dict(image_id=2, category_id=90))
    with pytest.raises(ValueError, match="'a cup' can spare 0 images, because each of the others has the last"):
        hold_out_images(together, {3: 1, 7: 0, 90: 0})


def test_counts_of_lvis_follow_the_training_part():
    content = dict(CONTENT, categories=[dict(c, image_count=9, frequency='r') for c in CONTENT['categories']])
    for part in split_annotations(content, {9}):
        assert [c['image_count'] for c in part['categories']] == [1, 1, 0]


@pytest.mark.parametrize('change, counts', [
    ({}, True), (dict(bbox=[-5, 3, 6, 1]), True), (dict(bbox=[99, 49, 1, 1], area=0.5), True),
    (dict(iscrowd=1), False), (dict(ignore=True), False), (dict(area=0), False), (dict(image_id=2), False),
    (dict(image_id='1'), False), (dict(bbox=[5, 5, 0.5, 9]), False), (dict(bbox=[5, 5, 9, 0]), False),
    (dict(bbox=[100, 5, 9, 9]), False), (dict(bbox=[-9, 5, 9, 9]), False), (dict(bbox=[5, -9, 9, 9]), False),
    (dict(bbox=[5, 50, 9, 9]), False)])
def test_images_count_that_the_host_trains_on(change, counts, tmp_path):
    annotation = dict(dict(id=1, image_id=1, category_id=3, bbox=[5, 5, 9, 9], area=81, iscrowd=0), **change)
    content = dict(images=[dict(id=1, file_name='a.jpg', width=100, height=50)], annotations=[annotation],
                   categories=[dict(id=3, name='cat')])
    assert image_counts(content) == dict(cat=counts)
    (tmp_path / 'a.json').write_text(json.dumps(content))
    host = CocoDataset(ann_file=str(tmp_path / 'a.json'), metainfo=dict(classes=('cat', )), data_prefix=dict(img=''),
                       pipeline=[])
    labels = [instance for instance in host.get_data_info(0)['instances'] if not instance['ignore_flag']]
    assert len(labels) == counts


@pytest.mark.parametrize('box', [[], [1, 2, 3], '1234', None, [0, 0, 'a', 1]])
def test_boxes_that_are_none(box):
    content = dict(images=[dict(id=1)], annotations=[dict(image_id=1, category_id=3, bbox=box)],
                   categories=[dict(id=3, name='cat')])
    with pytest.raises(ValueError, match=r'bbox must be \[x, y, width, height\], but got'):
        image_counts(content)
