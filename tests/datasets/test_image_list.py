"""Checks of image lists, and the published lists of ImageNet-LT and Places-LT."""
import gzip
import hashlib
import os
from pathlib import Path

import pytest
from helpers.commands import ROOT
from helpers.data import LIST
from helpers.data import build_image_list as build
from mmengine.config import Config


def test_classes_are_counted_in_the_training_list(tmp_path):
    (tmp_path / 'train.txt').write_text('x y.jpg 2\nz.jpg 2\nz.jpg 0\n')
    dataset = build(tmp_path, train_ann_file='train.txt', num_images=3)
    assert dataset.metainfo['class_counts'] == [1, 0, 2] and dataset.metainfo['classes'] == ('0', '1', '2')
    assert [dataset.get_data_info(i)['gt_label'] for i in range(3)] == [0, 0, 1]
    assert dataset.get_data_info(2)['img_path'] == str(tmp_path / 'b/2.jpg')
    assert build(tmp_path).metainfo['class_counts'] == [2, 1, 0]


@pytest.mark.parametrize('lines, words', [
    ([*LIST, 'c/3.jpg'], r"line 4 of .*list.txt must be 'path label', but got 'c/3.jpg'"),
    (['c/3.jpg cat'], 'line 1 of .* must be'), ([*LIST, ''], 'line 4'),
    ([*LIST, 'c/3.jpg 3'], r'the label in line 4 of .* must be in \[0, 3\), but got 3'),
    (['c/3.jpg -1'], r'must be in \[0, 3\), but got -1'), (LIST[:2], 'must have 3 images, but got 2'),
    (['c/3.jpg --1'], 'line 1 of'),
    (['c/3.jpg ²'], 'line 1 of'), (['c/3.jpg 0', '\ufeffc/4.jpg 0'], 'line 2 of'), ([' 0'], 'line 1 of'),
])
def test_bad_lists_are_refused_by_line(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        build(tmp_path, lines, num_images=3)


def test_lists_that_are_no_lists_are_refused(tmp_path):
    (tmp_path / 'empty.txt').write_text('')
    (tmp_path / 'packed.txt').write_bytes(gzip.compress(b'a.jpg 0'))
    for name, words in (('empty.txt', 'empty.txt must list images, but is empty'),
                        ('packed.txt', 'packed.txt must be a text file in UTF-8, not compressed')):
        with pytest.raises(ValueError, match=words):
            build(tmp_path, ann_file=name)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    """In lists of images and of class names, as Windows writes them."""
    (tmp_path / 'marked.txt').write_bytes('\ufeff猫 & é.jpg 2\r\nb.jpg 0\r\n'.encode())
    (tmp_path / 'classes.txt').write_bytes('\ufeff$5\r\n_b\r\n猫\r\n'.encode())
    dataset = build(tmp_path, ann_file='marked.txt', train_ann_file='marked.txt', classes=str(tmp_path / 'classes.txt'))
    infos = [dataset.get_data_info(index) for index in range(2)]
    assert [info['img_path'] for info in infos] == [str(tmp_path / '猫 & é.jpg'), str(tmp_path / 'b.jpg')]
    assert [info['gt_label'] for info in infos] == [2, 0] and dataset.metainfo['class_counts'] == [1, 0, 1]
    assert dataset.metainfo['classes'] == ('$5', '_b', '猫')
    (tmp_path / 'empty.txt').write_bytes('\ufeff'.encode())
    with pytest.raises(ValueError, match='must list images, but is empty'):
        build(tmp_path, ann_file='empty.txt')


def test_the_training_list_is_counted_too(tmp_path):
    (tmp_path / 'train.txt').write_text('x.jpg 2\nz.jpg 0\n')
    assert len(build(tmp_path, train_ann_file='train.txt', num_train_images=2)) == 3
    with pytest.raises(ValueError, match='train.txt must have 3 images, but got 2'):
        build(tmp_path, train_ann_file='train.txt', num_images=3, num_train_images=3)


def test_missing_lists_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.txt is missing'):
        build(tmp_path, ann_file='nowhere.txt')
    with pytest.raises(FileNotFoundError, match='train.txt is missing'):
        build(tmp_path, train_ann_file='train.txt')


def test_the_md5_sum_of_the_list_is_compared(tmp_path):
    wanted = '1701d818c7ca5629fe009c70fff93af8'  # from md5sum
    assert len(build(tmp_path, md5=wanted)) == 3
    with pytest.raises(ValueError, match=f'list.txt must have the md5 sum {wanted}, but got [0-9a-f]{{32}}'):
        build(tmp_path, ['c/0.jpg 0', *LIST[1:]], md5=wanted)


@pytest.mark.parametrize('benchmark', ['imagenet_lt', 'places_lt'])
def test_md5_sums_of_the_configs_are_those_of_the_published_lists(benchmark):
    if 'MMCAUSAL_DATA' not in os.environ:
        pytest.skip(f'real lists: MMCAUSAL_DATA does not name a folder with {benchmark}')
    cfg = Config.fromfile(ROOT / f'configs/_base_/datasets/{benchmark}.py')
    compared = 0
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        published = Path(os.environ['MMCAUSAL_DATA']) / benchmark / f'{dataset.ann_file}.gz'
        if 'md5' in dataset:
            text = gzip.decompress(published.read_bytes())
            assert hashlib.md5(text).hexdigest() == dataset.md5 and text.count(b'\n') == dataset.num_images
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize('content, words', [(b'', 'OpenCV'), (b'no image', 'failed to load'), (None, 'FileNotFound')])
def test_unreadable_images_stop_a_test_and_are_named(tmp_path, content, words):
    if content is not None:
        (tmp_path / 'a').mkdir()
        (tmp_path / 'a/0.jpg').write_bytes(content)
    dataset = build(tmp_path, pipeline=[dict(type='LoadImageFromFile')], test_mode=True)
    with pytest.raises(ValueError, match=f'the pipeline fails on {tmp_path}/a/0.jpg: .*{words}'):
        dataset[0]


def test_class_names_are_as_many_as_the_classes(tmp_path):
    with pytest.raises(ValueError, match='num_classes must be the number of class names, but got 3, and 2 names'):
        build(tmp_path, classes=['x', 'y'])
