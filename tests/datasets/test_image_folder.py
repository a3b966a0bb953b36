"""Images in folders: classes and counts come from the training folder, and held-out images from its images."""
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.data import write_image
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmcausal.datasets.image_folder import images_to_hold_out
from mmcausal.registry import DATASETS

TRAIN = {'great tit': 9, 'éider': 5, '白鹭 $1': 3}
CLASSES = tuple(sorted(TRAIN))  # by code point: 'great tit', 'éider', '白鹭 $1'


@pytest.fixture
def root(tmp_path):
    """Three classes; the validation folder lacks one of them, the test folder has all."""
    for seed, (split, counts) in enumerate(
            (('train', TRAIN), ('val', {'great tit': 2, 'éider': 1}), ('test', dict.fromkeys(TRAIN, 2)))):
        for label, (name, count) in enumerate(counts.items()):
            for number in range(count):
                write_image(tmp_path / split / name / f'{number}.png', seed=1000 * seed + 100 * label + number, size=8)
    return tmp_path


def build(root, split='train', **kwargs):
    init_default_scope('mmpretrain')
    return DATASETS.build(dict(dict(type='mmcausal.ImageFolder', data_root=str(root), split=split), **kwargs))


def names(dataset):
    paths = [dataset.get_data_info(index)['img_path'] for index in range(len(dataset))]
    return [path.split('/', path.count('/') - 2)[-1] for path in paths]


def test_classes_and_counts_of_the_training_folder_hold_for_every_split(root):
    for split, counts in (('train', [9, 5, 3]), ('val', [2, 1, 0]), ('test', [2, 2, 2])):
        dataset = build(root, split)
        assert dataset.metainfo['classes'] == CLASSES and dataset.metainfo['class_counts'] == [9, 5, 3]
        assert np.bincount(dataset.get_gt_labels(), minlength=3).tolist() == counts
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            assert f'/{split}/{CLASSES[info["gt_label"]]}/' in info['img_path']


@pytest.mark.parametrize('how', [dict(val_per_class=2), dict(val_fraction=0.6)])
def test_held_out_images_are_balanced_disjoint_and_seeded(root, how):
    train, val = build(root, 'train', **how), build(root, 'val', **how)
    assert np.bincount(val.get_gt_labels()).tolist() == [2, 2, 2]
    assert train.metainfo['class_counts'] == val.metainfo['class_counts'] == [7, 3, 1]
    assert np.bincount(train.get_gt_labels()).tolist() == [7, 3, 1]
    assert not set(names(train)) & set(names(val)) and len({*names(train), *names(val)}) == 17
    assert names(build(root, 'val', **how)) == names(val) != names(build(root, 'val', seed=5, **how))
    test = build(root, 'test', **how)
    assert test.metainfo['class_counts'] == [7, 3, 1] and len(test) == 6


def test_one_folder_is_enough_for_training_and_validation(root):
    train, val = (build(root / 'train', split, train_folder='', val_per_class=1) for split in ('train', 'val'))
    assert (len(train), len(val)) == (14, 3) and train.metainfo['classes'] == CLASSES


def test_counts_follow_a_selection_of_training_images(root):
    assert build(root, indices=10).metainfo['class_counts'] == [9, 1, 0]
    assert build(root, 'test', indices=1).metainfo['class_counts'] == [9, 5, 3]


@pytest.mark.parametrize('how, words', [
    (dict(val_per_class=3), "val_per_class=3 takes 3: the rarest class, '白鹭 .1', has 3 images and can spare 2"),
    (dict(val_fraction=0.9), 'val_fraction=0.9 takes 3: the rarest class'),
    (dict(val_fraction=0.1), r"at least one image of the rarest class, but got 0.1: .* can spare 2"),
    (dict(val_fraction=1.), r'val_fraction must be a number in \[0, 1\), but got 1.0'),
    (dict(val_per_class=-1), 'val_per_class must be an integer of at least 0, but got -1'),
    (dict(val_per_class=1, val_fraction=0.5), 'two ways to say one number, but got 1 and 0.5'),
    (dict(seed=None), 'seed must be an integer of at least 0, but got None'),
    (dict(split='dev'), "split must be one of .*, but got 'dev'"),
    (dict(folder='val'), "takes its images from train_folder='train', but got folder='val'"),
    (dict(split='val', val_per_class=1, folder='val'), "of which it holds some out, but got folder='val'"),
])
def test_bad_arguments_are_refused(root, how, words):
    with pytest.raises(ValueError, match=words):
        build(root, **how)


def test_unknown_folders_are_refused(root):
    write_image(root / 'val' / 'great tits' / '0.png')
    with pytest.raises(ValueError, match="val must be one of the 3 classes, but got 'great tits'; did you mean 'great"):
        build(root, 'val')
    with pytest.raises(ValueError, match="train must be one of the 2 classes, but got 'great tit'"):
        build(root, classes=CLASSES[1:])


def test_folders_without_images_are_named(root):
    (root / 'train' / 'owl').mkdir()
    (root / 'train' / '.cache').mkdir()
    with pytest.raises(ValueError, match='every class folder of .*train must have an image .* are empty: owl'):
        build(root)
    # A list of classes says that a class exists even if this part of the data has none of it
    dataset = build(root, classes=['owl', 'stork', *CLASSES])
    assert dataset.metainfo['class_counts'] == [0, 0, 9, 5, 3] and dataset.get_gt_labels().min() == 2
    shutil.rmtree(root / 'test' / 'éider')
    (root / 'test' / 'éider').mkdir()
    (root / 'train' / 'owl').rmdir()
    assert Counter(build(root, 'test').get_gt_labels().tolist()) == {0: 2, 2: 2}


def test_too_few_folders_are_refused(root):
    with pytest.raises(ValueError, match=r"at least two classes, but has \[\]"):
        build(root, train_folder='train/great tit')
    with pytest.raises(FileNotFoundError, match='training is missing; it must have one folder'):
        build(root, train_folder='training')
    with pytest.raises(ValueError, match=r"test2 must have images \(.*\) in class folders, but has none"):
        (root / 'test2' / 'great tit').mkdir(parents=True)
        build(root, 'test', folder='test2')


def test_copies_of_training_images_are_named(root):
    shutil.copy(root / 'train/éider/1.png', root / 'test/great tit/1.png')
    with pytest.raises(ValueError, match='has 1 copies, e.g. .*test/great tit/1.png of .*train/éider/1.png'):
        build(root, 'test')


def test_names_are_the_same_in_every_unicode_form(root):
    (root / 'test' / 'éider').rename(root / 'test' / 'e\u0301ider')  # as some file systems write it
    dataset = build(root, 'test')
    assert np.bincount(dataset.get_gt_labels()).tolist() == [2, 2, 2]
    shutil.copytree(root / 'test' / 'e\u0301ider', root / 'test' / 'éider')
    with pytest.raises(ValueError, match='same name in two Unicode forms'):
        build(root, 'test')


def test_unreadable_images_are_named(root):
    path = root / 'test' / 'great tit' / '0.png'
    path.write_bytes(b'no image')
    dataset = build(root, 'test', pipeline=[dict(type='LoadImageFromFile')], test_mode=True)
    with pytest.raises(ValueError, match=f'the pipeline fails on {path}'):
        dataset[0]


def test_number_of_held_out_images():
    assert images_to_hold_out([10, 0, 4], 'abc', 3, 0.) == 3
    assert images_to_hold_out([10, 0, 4], 'abc', 0, 0.5) == 2
    with pytest.raises(ValueError, match="'c', has 1 images and can spare 0"):
        images_to_hold_out([10, 0, 1], 'abc', 1, 0.)


def test_names_of_a_file_from_windows(root, tmp_path):
    (tmp_path / 'names.txt').write_bytes(('\ufeff' + '\r\n'.join(CLASSES)).encode())
    assert build(root, classes=str(tmp_path / 'names.txt')).metainfo['classes'] == CLASSES


@pytest.mark.parametrize('how', [{}, dict(val_per_class=1)])
def test_folders_without_any_known_image_are_refused(root, how):
    with pytest.raises(ValueError, match=r'train must have images \(\.avif\), but its class folders have none'):
        build(root, classes=CLASSES, extensions=('.avif', ), **how)


def test_folders_may_be_paths(root):
    for how in (dict(train_folder=Path('train')), dict(split='test', folder=Path('test'))):
        dataset, named = (build(root, **{'split': 'train', **{key: kind(value) for key, value in how.items()}})
                          for kind in (lambda value: value, str))
        assert names(dataset) == names(named) and len(dataset)


@pytest.fixture
def warnings_of_log(monkeypatch):
    told = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, message: told.append(message))
    return told


def test_images_with_other_endings_are_told_once(root, warnings_of_log):
    for name in ('a.webp', 'b.WEBP', 'c.gif', 'notes.txt', 'Thumbs.db', '.DS_Store'):
        (root / 'train' / 'great tit' / name).touch()
    for split in ('train', 'val', 'test'):
        assert build(root, split).metainfo['class_counts'] == [9, 5, 3]
    [message] = warnings_of_log
    assert message.startswith(f'{root}/train has images that are not read, because extensions=')
    assert message.endswith('lacks their endings: 1 .gif, 2 .webp')
    assert build(root, extensions=('.png', '.webp', '.gif')).metainfo['class_counts'] == [12, 5, 3]
    assert len(warnings_of_log) == 1


def test_a_validation_folder_beside_held_out_images_is_told(root, warnings_of_log):
    for split in ('train', 'val', 'test'):
        build(root, split, val_per_class=1)
    assert warnings_of_log == [f'{root}/val is not read: val_per_class and val_fraction hold validation images out of '
                               'train']
    shutil.rmtree(root / 'val')
    build(root, 'val', val_per_class=1)
    assert len(warnings_of_log) == 1
