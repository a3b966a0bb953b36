"""Tools that turn a folder of your images into splits and lists."""
import shutil

import numpy as np
from helpers.data import write_image
from helpers.in_process import run_tool
from mmengine.registry import init_default_scope
from PIL import Image

from mmcausal.datasets import ImageFolder, ImageList
from mmcausal.datasets.long_tail import long_tailed_counts

TOOLS = 'dataset_converters'


def make_folder(root):
    for label, (name, count) in enumerate({'a cat': 8, 'a dog': 4}.items()):
        for number in range(count):
            write_image(root / name / f'{number}.png', 100 * label + number, size=8)


def test_lists_of_a_folder(tmp_path):
    make_folder(tmp_path / 'photos')
    tool = (f'{TOOLS}/folder_lists.py', tmp_path / 'photos', tmp_path / 'lists')
    output = run_tool(*tool, '--val-per-class', '1', '--test-per-class', '2')
    assert 'train.txt: 6 images, 5 to 1 of a class' in output and 'test.txt: 4 images, 2 to 2 of a class' in output
    init_default_scope('mmpretrain')
    paths = set()
    for split, counts in (('train', [5, 1]), ('val', [1, 1]), ('test', [2, 2])):
        dataset = ImageList(str(tmp_path / f'lists/{split}.txt'), 2, train_ann_file=str(tmp_path / 'lists/train.txt'),
                            data_root=str(tmp_path / 'photos'), classes=str(tmp_path / 'lists/classes.txt'))
        assert np.bincount(dataset.get_gt_labels()).tolist() == counts
        assert dataset.metainfo['classes'] == ('a cat', 'a dog') and dataset.metainfo['class_counts'] == [5, 1]
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        assert all(f'photos/{dataset.CLASSES[info["gt_label"]]}/' in info['img_path'] for info in infos)
        paths |= {info['img_path'] for info in infos}
    assert len(paths) == 12

    before = (tmp_path / 'lists/train.txt').read_text()
    output = run_tool(*tool, status=2)
    assert 'train.txt exists and is not overwritten; choose another file, or say --overwrite' in output
    assert (tmp_path / 'lists/train.txt').read_text() == before


def test_lists_leave_a_training_image_of_each_class(tmp_path):
    make_folder(tmp_path / 'photos')
    tool = (f'{TOOLS}/folder_lists.py', tmp_path / 'photos', tmp_path / 'lists')
    output = run_tool(*tool, '--val-per-class', '2', '--test-per-class', '2', status=1)
    assert "but are 2 and 2: the rarest class, 'a dog', has 4 images and can spare 3" in output
    assert 'seed must be at least 0, but got -1' in run_tool(*tool, '--seed', '-1', status=2)
    assert not (tmp_path / 'lists').exists()
    output = run_tool(tool[0], tmp_path / 'nothing', tmp_path / 'lists', status=1)
    assert 'nothing is missing; it must have one folder of images for each class' in output


def test_lists_of_images_with_other_endings(tmp_path):
    """ImageFolder leaves out endings that it does not read; a list can name them."""
    make_folder(tmp_path / 'photos')
    for name in ('a cat', 'a dog'):
        Image.new('RGB', (8, 8)).save(tmp_path / 'photos' / name / 'x.WEBP')
    tool = (f'{TOOLS}/folder_lists.py', tmp_path / 'photos')
    assert 'train.txt: 12 images, 8 to 4' in run_tool(*tool, tmp_path / 'some')
    assert 'train.txt: 14 images, 9 to 5' in run_tool(*tool, tmp_path / 'all', '--extensions', '.png', '.webp')
    assert 'a cat/x.WEBP 0\n' in (tmp_path / 'all/train.txt').read_text()


def test_digits_are_written_as_a_folder(tmp_path):
    tool = (f'{TOOLS}/digits_folder.py', tmp_path / 'digits')
    assert 'train: 342 images, 110 to 11 of a class' in run_tool(*tool)
    init_default_scope('mmpretrain')
    train, val, test = (ImageFolder(str(tmp_path / 'digits'), split, val_per_class=10)
                        for split in ('train', 'val', 'test'))
    assert sorted(train.metainfo['class_counts'], reverse=True) == long_tailed_counts(100, 10, 100)
    assert np.bincount(val.get_gt_labels()).tolist() == [10] * 10
    assert np.bincount(test.get_gt_labels()).tolist() == [50] * 10
    assert 'exists; nothing was written' in run_tool(*tool, status=2)


def test_copies_in_two_splits_are_found_whatever_their_name(tmp_path):
    make_folder(tmp_path / 'train')
    for name in ('val', 'test'):
        write_image(tmp_path / name / 'a cat' / 'x.png', seed=7, size=9)
    shutil.copy(tmp_path / 'train/a dog/3.png', tmp_path / 'test/a cat/other.png')
    config = tmp_path / 'config.py'
    config.write_text("_base_ = __import__('mmcausal').config_path('own_data/linear_r32.py')\n"
                      f"train_dataloader = val_dataloader = test_dataloader = "
                      f"dict(dataset=dict(data_root={str(tmp_path)!r}))\n")
    output = run_tool(f'{TOOLS}/check_images.py', config, status=1)
    assert '2 images are in more than one split' in output and output.count('\n  0 unreadable') == 3
    assert 'test/a cat/other.png = ' in output and 'test/a cat/x.png = ' in output
    assert '12 images of 2 classes' in output
