"""Long-tailed lists of images: checks, and the real lists of ImageNet-LT with generated images."""
import gzip
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image
from test_tools import free_port, metrics, run

from mmcausal.registry import DATASETS, TRANSFORMS

LIST = ['a/0.jpg 0', 'a/1.jpg 0', 'b/2.jpg 1']
CONFIG = 'configs/imagenet_lt/deconfound-tde_r10_90e.py'


def build(folder, lines=LIST, **kwargs):
    (folder / 'list.txt').write_text('\n'.join(lines) + '\n')
    init_default_scope('mmpretrain')
    arguments = dict(type='mmcausal.ImageList', data_root=str(folder), ann_file='list.txt', num_classes=3)
    return DATASETS.build({**arguments, **kwargs})


def write_image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(path)


def test_classes_are_counted_in_the_training_list(tmp_path):
    (tmp_path / 'train.txt').write_text('x y.jpg 2\nz.jpg 2\nz.jpg 0\n')
    dataset = build(tmp_path, train_ann_file='train.txt', num_images=3)
    assert dataset.metainfo['class_counts'] == [1, 0, 2] and dataset.metainfo['classes'] == ('0', '1', '2')
    assert [dataset.get_data_info(i)['gt_label'] for i in range(3)] == [0, 0, 1]
    assert dataset.get_data_info(2)['img_path'] == str(tmp_path / 'b/2.jpg')
    assert build(tmp_path).metainfo['class_counts'] == [2, 1, 0]


@pytest.mark.parametrize('lines, words', [
    ([*LIST, 'c/3.jpg'], r"line 4 of .*list.txt must be 'path label', got 'c/3.jpg'"),
    (['c/3.jpg cat'], 'line 1 of .* must be'), ([*LIST, ''], 'line 4'),
    ([*LIST, 'c/3.jpg 3'], r'line 4 of .* has label 3, and labels must be in \[0, 3\)'),
    (['c/3.jpg -1'], 'has label -1'), (LIST[:2], 'must have 3 images, got 2'),
])
def test_bad_lists_are_refused_by_line(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        build(tmp_path, lines, num_images=3)


def test_missing_lists_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.txt is missing'):
        build(tmp_path, ann_file='nowhere.txt')
    with pytest.raises(FileNotFoundError, match='train.txt is missing'):
        build(tmp_path, train_ann_file='train.txt')


def test_unreadable_images_are_named_counted_and_passed_over_as_configured(tmp_path, caplog):
    for line in LIST:
        write_image(tmp_path / line.split()[0])
    (tmp_path / 'a/0.jpg').write_bytes(b'no image')
    (tmp_path / 'a/1.jpg').unlink()
    pipeline = [TRANSFORMS.build(dict(type='mmcausal.LoadImage', max_unreadable=2))]
    dataset = build(tmp_path, pipeline=pipeline, max_refetch=100)
    np.random.seed(0)
    assert dataset[2]['img'].shape == (40, 40, 3)
    broken = [dataset.prepare_data(i) for i in (0, 1)]
    assert broken == [None, None] and len(pipeline[0].unreadable) == 2
    assert dataset.prepare_data(0) is None  # known by now
    (tmp_path / 'b/2.jpg').unlink()
    with pytest.raises(ValueError, match=r'image 3 that cannot be read is .*b/2.jpg: FileNotFoundError.*unreadable=2'):
        dataset[2]
    with pytest.raises(ValueError, match='image 1 that cannot be read is .*a/0.jpg'):
        build(tmp_path, pipeline=[TRANSFORMS.build(dict(type='mmcausal.LoadImage'))])[0]


@pytest.fixture(scope='module')
def imagenet_lt(tmp_path_factory):
    """ImageNet-LT's own lists, some lines of them, with images of noise under the names they give."""
    if 'MMCAUSAL_DATA' not in os.environ:
        pytest.skip('real lists: MMCAUSAL_DATA does not name a folder with imagenet_lt/ImageNet_LT_val.txt.gz')
    source, root = Path(os.environ['MMCAUSAL_DATA']) / 'imagenet_lt', tmp_path_factory.mktemp('imagenet')
    for split, name, step in (('train', 'train_90', 40), ('val', 'val', 400), ('test', 'test', 1000)):
        text = gzip.decompress((source / f'ImageNet_LT_{name}.txt.gz').read_bytes()).decode()
        lines = text.splitlines()[::step]
        (root / f'ImageNet_LT_{split}.txt').write_text('\n'.join(lines) + '\n')
        for seed, line in enumerate(lines):
            write_image(root / line.split()[0], seed)
    return root


def options(root):
    changes = ['train_cfg.max_epochs=1', 'randomness.seed=0', 'randomness.deterministic=True',
               'default_hooks.checkpoint.interval=1', 'model.backbone.base_channels=8',
               'model.backbone.stem_channels=8', 'model.head.in_channels=64', 'env_cfg.mp_cfg.mp_start_method=fork']
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        changes += [f'{loader}.dataset.data_root={root}', f'{loader}.dataset.num_images=None',
                    f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']
    return ['--cfg-options', *changes]


def test_two_processes_train_and_test_as_one_on_imagenet_lt(imagenet_lt, tmp_path):
    run('bash', 'tools/dist_train.sh', CONFIG, '2', '--work-dir', tmp_path, *options(imagenet_lt), PORT=free_port())
    checkpoint = tmp_path / 'epoch_1.pth'
    run('bash', 'tools/dist_test.sh', CONFIG, checkpoint, '2', '--out', tmp_path / 'two.json', '--out-item', 'metrics',
        *options(imagenet_lt), PORT=free_port())
    run(sys.executable, 'tools/test.py', CONFIG, checkpoint, '--out', tmp_path / 'one.json', '--out-item', 'metrics',
        *options(imagenet_lt))
    assert metrics(tmp_path / 'two.json') == metrics(tmp_path / 'one.json') != {}
    log = json.loads(next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()[0])
    assert np.isfinite(log['loss'])


def test_missing_images_are_named(imagenet_lt, tmp_path):
    lists = tmp_path / 'lists'
    lists.mkdir()
    for file in imagenet_lt.glob('*.txt'):
        (lists / file.name).write_text(file.read_text())
    here = [f'{split}_dataloader.dataset.data_prefix={imagenet_lt}' for split in ('train', 'val', 'test')]
    tool = [sys.executable, 'tools/dataset_converters/check_images.py', CONFIG]
    assert run(*tool, *options(lists), *here).count('\n  0 missing') == 3

    with open(lists / 'ImageNet_LT_val.txt', 'a') as file:
        file.write('val/gone.JPEG 7\n')
    output = run(*tool, '--out', tmp_path / 'missing.txt', *options(lists), *here, status=1)
    assert '\n  1 missing' in output and f'{imagenet_lt}/val/gone.JPEG' in output
    assert (tmp_path / 'missing.txt').read_text() == f'{imagenet_lt}/val/gone.JPEG\n'


def test_lists_of_inaturalist(tmp_path):
    (tmp_path / 'train.json').write_text(json.dumps(dict(
        images=[dict(id=7, file_name='a/x.jpg'), dict(id=3, file_name='b/y.jpg')],
        annotations=[dict(id=1, image_id=3, category_id=0), dict(id=2, image_id=7, category_id=2)])))
    run(sys.executable, 'tools/dataset_converters/inat_lists.py', tmp_path / 'train.json', tmp_path / 'list.txt')
    assert (tmp_path / 'list.txt').read_text() == 'a/x.jpg 2\nb/y.jpg 0\n'
