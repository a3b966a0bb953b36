"""Long-tailed lists of images: checks, and the real lists of ImageNet-LT with generated images."""
import gzip
import hashlib
import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from test_tools import DIGITS, ROOT, free_port, metrics, run

from mmcausal.registry import DATASETS, TRANSFORMS

LIST = ['a/0.jpg 0', 'a/1.jpg 0', 'b/2.jpg 1']
CONFIG = 'configs/imagenet_lt/deconfound-tde_r10_90e.py'
# Without what depends on how a batch is split: crops drawn in each process, and batch statistics. The classifier is
# tested on its training images, where so short a training has something to show.
SAME_IN_ANY_SPLIT = f"""
_base_ = '{ROOT / CONFIG}'
custom_imports = dict(imports=['mean_loss_hook'])
custom_hooks = [*_base_.custom_hooks, dict(type='MeanLossHook')]
model = dict(backbone=dict(norm_eval=True), head=dict(alpha=0.5))
train_dataloader = dict(sampler=dict(seed=0), dataset=dict(pipeline=_base_.test_pipeline, indices=160))
test_dataloader = dict(dataset=dict(ann_file='ImageNet_LT_train.txt'))
train_cfg = dict(max_epochs=2)
optim_wrapper = dict(optimizer=dict(lr=0.05))
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
"""


def build(folder, lines=LIST, **kwargs):
    (folder / 'list.txt').write_text('\n'.join(lines) + '\n')
    init_default_scope('mmpretrain')
    arguments = dict(type='mmcausal.ImageList', data_root=str(folder), ann_file='list.txt', num_classes=3)
    return DATASETS.build({**arguments, **kwargs})


def write_image(path, seed=0, size=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)).save(path)


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
    ([*LIST, 'c/3.jpg 3'], r'line 4 of .* has label 3, and labels must be in \[0, 3\)'),
    (['c/3.jpg -1'], 'has label -1'), (LIST[:2], 'must have 3 images, but got 2'), (['c/3.jpg --1'], 'line 1 of'),
    (['c/3.jpg ²'], 'line 1 of'), (['\ufeffc/3.jpg 0'], 'line 1 of'), ([' 0'], 'line 1 of'),
])
def test_bad_lists_are_refused_by_line(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        build(tmp_path, lines, num_images=3)


def test_lists_that_are_no_lists_are_refused(tmp_path):
    (tmp_path / 'empty.txt').write_text('')
    (tmp_path / 'packed.txt').write_bytes(gzip.compress(b'a.jpg 0'))
    for name, words in (('empty.txt', 'empty.txt must list images'), ('packed.txt', 'packed.txt must be a text file')):
        with pytest.raises(ValueError, match=words):
            build(tmp_path, ann_file=name)


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


def options(root, *more):
    # 16 channels: with 8, PyTorch 2.1's oneDNN overruns its memory in channels_last on some AVX-512 processors.
    changes = ['randomness.seed=0', 'randomness.deterministic=True', 'model.backbone.base_channels=16',
               'model.backbone.stem_channels=16', 'model.head.in_channels=128', 'env_cfg.mp_cfg.mp_start_method=fork']
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        changes += [f'{loader}.dataset.data_root={root}', f'{loader}.dataset.num_images=None',
                    f'{loader}.dataset.num_train_images=None',
                    f'{loader}.dataset.md5=None', f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']
    return ['--cfg-options', *changes, *more]


@pytest.fixture(scope='module')
def processes(imagenet_lt, tmp_path_factory):
    """Folders of one training and test in one process, and in two with half the batch each."""
    config = tmp_path_factory.mktemp('config') / 'same_in_any_split.py'
    config.write_text(SAME_IN_ANY_SPLIT)
    one, two = tmp_path_factory.mktemp('one'), tmp_path_factory.mktemp('two')

    def run_here(*command):
        run(*command, PORT=free_port(), PYTHONPATH=os.pathsep.join([str(ROOT / 'tests'), *sys.path]))

    def train(folder, batch_size):
        return ['--work-dir', folder, *options(imagenet_lt, f'train_dataloader.batch_size={batch_size}')]

    def test(folder):
        return ['--work-dir', folder, '--out', folder / 'metrics.json', '--out-item', 'metrics', *options(imagenet_lt)]

    run_here(sys.executable, 'tools/train.py', config, *train(one, 32))
    run_here(sys.executable, 'tools/test.py', config, one / 'epoch_2.pth', *test(one))
    run_here('bash', 'tools/dist_train.sh', config, '2', *train(two, 16))
    run_here('bash', 'tools/dist_test.sh', config, two / 'epoch_2.pth', '2', *test(two))
    return one, two


def losses(folder):
    logs = [file.read_text().splitlines() for file in folder.glob('*/vis_data/scalars.json')]
    return [row['loss'] for row in map(json.loads, sum(logs, [])) if 'loss' in row]


def weights(folder):
    return torch.load(folder / 'epoch_2.pth', map_location='cpu', weights_only=False)['state_dict']


def test_two_processes_train_as_one_on_imagenet_lt(processes):
    one, two = map(losses, processes)
    assert len(one) == 10
    np.testing.assert_allclose(two, one, rtol=1e-5)
    one, two = map(weights, processes)
    assert one['head.fc.num_updates'] == 10 and one['head.fc.mean_feature'].any()
    # Rounding may turn a ReLU or a maximum here and there; the losses above say whether the gradients are the same.
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-3)


def test_two_processes_test_as_one_on_imagenet_lt(processes):
    one, two = (metrics(folder / 'metrics.json') for folder in processes)
    assert two == one and one['accuracy/top5'] > 0


@pytest.fixture()
def check_images(imagenet_lt, tmp_path, monkeypatch, capsys):
    """Runs the tool, in this process, on copies of the lists, which a test may change, and links to the images."""
    for entry in imagenet_lt.iterdir():
        if entry.is_dir():
            (tmp_path / entry.name).symlink_to(entry)
        else:
            (tmp_path / entry.name).write_text(entry.read_text())

    def check(*changes, config=CONFIG):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, 'argv', ['check_images.py', config, '--out', str(tmp_path / 'unreadable.txt'),
                                          *options(tmp_path), *changes])
        with pytest.raises(SystemExit) as status:
            runpy.run_path('tools/dataset_converters/check_images.py', run_name='__main__')
        return status.value.code, capsys.readouterr().out

    return check


def test_whole_images_of_right_lists_pass_the_check(check_images, tmp_path):
    status, output = check_images()
    assert status == 0 and output.count('\n  0 unreadable') == 3
    assert (tmp_path / 'unreadable.txt').read_text() == ''


def test_missing_empty_and_cut_images_are_named(check_images, tmp_path):
    (tmp_path / 'other').mkdir()
    Image.new('RGB', (90, 90), 'red').save(tmp_path / 'other/whole.JPEG')
    whole = (tmp_path / 'other/whole.JPEG').read_bytes()
    (tmp_path / 'other/trailer.JPEG').write_bytes(whole + b'camera')
    (tmp_path / 'other/cut.JPEG').write_bytes(whole[:len(whole) // 2])
    (tmp_path / 'other/empty.JPEG').write_bytes(b'')
    (tmp_path / 'other/page.JPEG').write_text('<html>404: not found</html>' * 9)
    with open(tmp_path / 'ImageNet_LT_val.txt', 'a') as file:
        file.write(''.join(f'other/{name}.JPEG 7\n' for name in ('whole', 'trailer', 'cut', 'empty', 'gone', 'page')))
    status, output = check_images()
    assert status == 1 and '\n  4 unreadable' in output and output.count('\n  0 unreadable') == 2
    unreadable = (tmp_path / 'unreadable.txt').read_text().splitlines()
    assert unreadable == [f'{tmp_path}/other/{name}.JPEG' for name in ('cut', 'empty', 'gone', 'page')]
    for path, fault in zip(unreadable, ('cut short', 'empty', 'No such file', 'no image that OpenCV knows')):
        assert f'{path}: {fault}' in output


def test_every_split_is_looked_at_where_lists_are_wrong(check_images, tmp_path):
    (tmp_path / 'ImageNet_LT_val.txt').unlink()
    status, output = check_images('train_dataloader.dataset.num_images=7', 'test_dataloader.dataset.md5=abc')
    assert status == 1 and 'train: ' in output and 'ImageNet_LT_train.txt must have 7 images, but got ' in output
    assert 'val: the list of images ' in output and 'ImageNet_LT_val.txt is missing' in output
    assert 'test: ' in output and 'ImageNet_LT_test.txt must have the md5 sum abc, but got ' in output
    assert output.count('its images were not looked at') == 3


def test_the_check_is_for_lists_of_images(check_images):
    assert check_images(config=DIGITS)[0] == 'the train split is a mmcausal.LongTailedDigits, not a list of images'


def test_lists_of_inaturalist(tmp_path):
    (tmp_path / 'train.json').write_text(json.dumps(dict(
        images=[dict(id=7, file_name='a/x.jpg'), dict(id=3, file_name='b/y.jpg')],
        annotations=[dict(id=1, image_id=3, category_id=0), dict(id=2, image_id=7, category_id=2)])))
    run(sys.executable, 'tools/dataset_converters/inat_lists.py', tmp_path / 'train.json', tmp_path / 'list.txt')
    assert (tmp_path / 'list.txt').read_text() == 'a/x.jpg 2\nb/y.jpg 0\n'
