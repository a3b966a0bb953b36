"""Annotation files in COCO format: training images by category."""
import json

import pytest

from mmcausal.datasets.coco_annotations import check_category_order, image_counts, images_by_category, load_annotations

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
