"""Folders for the features of trained models, and splits by which something may be chosen."""
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config

from mmcausal.analysis import features_folder, trained


def test_other_features_go_to_another_folder():
    identities = [dict(pipeline='x', dataset='y'), dict(pipeline='z', dataset='y'), dict(pipeline='x', dataset='z')]
    folders = {features_folder('a/config.py', 'val', 'float32', identity) for identity in identities}
    folders.add(features_folder('a/config.py', 'val', 'float16', identities[0]))
    assert len(folders) == 4 and all(folder.name.startswith('config_val_') for folder in folders)
    assert features_folder('a/config.py', 'val', 'float32', dict(reversed(identities[0].items()))) in folders


class Images:
    """A dataset of images in memory, each of one number."""

    def __init__(self, numbers):
        self.numbers = numbers

    def __len__(self):
        return len(self.numbers)

    def get_data_info(self, index):
        return dict(img=np.full((2, 2), self.numbers[index]))


@pytest.fixture
def choose(monkeypatch):
    """Return a function that builds the validation split of some images, beside a test split of the numbers < 100."""
    splits = dict(test=Images(range(100)))
    monkeypatch.setattr(trained, 'build_split', lambda cfg, split: splits[split])

    def build(numbers, split='val'):
        splits['val'] = Images(numbers)
        cfg = SimpleNamespace(filename='c.py', get=dict(test_dataloader={}).get)
        return trained.build_split_without_test_images(cfg, split)
    return build


@pytest.mark.parametrize('copies', [0, 1, 10])
def test_a_few_copies_of_test_images_are_told(choose, copies):
    numbers = range(100 - copies, 1100 - copies)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        assert len(choose(numbers)) == 1000
    told = [f'{copies} of the 1000 images of the val split of c.py are test images too'] if copies else []
    assert [str(each.message) for each in caught] == told


@pytest.mark.parametrize('numbers', [range(89, 1089), range(99, 198), range(99, 100), range(100)])
def test_more_test_images_are_refused(choose, numbers):
    with pytest.raises(trained.UsesTestImagesError, match='val split of c.py holds test images, [0-9]+ of [0-9]+, so'):
        choose(numbers)


def test_the_test_split_is_refused(choose):
    with pytest.raises(trained.UsesTestImagesError, match='the test split of c.py holds test images, 100 of 100'):
        choose(range(100, 200), split='test')


@pytest.mark.parametrize('numbers, shared', [(range(100, 200), 0), (range(99, 199), 1), (range(98, 198), 2),
                                             (range(100), 100), (range(99, 100), 1)])
def test_training_images_are_refused(monkeypatch, numbers, shared):
    splits = dict(train=Images(range(100)))
    monkeypatch.setattr(trained, 'build_split', lambda cfg, split: splits[split])
    cfg, dataset = Config(dict(train_dataloader={})), Images(numbers)
    if shared > 0.01 * len(numbers):
        with pytest.raises(ValueError, match=f'val split .* must be held out .*, but {shared} of {len(numbers)} are'):
            trained.check_held_out(cfg, 'val', dataset)
    else:
        trained.check_held_out(cfg, 'val', dataset)


def test_training_images_on_another_machine_are_not_compared(tmp_path):
    train = dict(type='mmcausal.ImageFolder', data_root=str(tmp_path / 'nowhere'), pipeline=[])
    trained.check_held_out(Config(dict(train_dataloader=dict(dataset=train))), 'val', Images(range(9)))
    trained.check_held_out(Config({}), 'val', Images(range(9)))


def test_pipelines_inside_wrappers_tell_features_apart():
    load, crop = [dict(type='LoadImageFromFile')], [dict(type='CenterCrop')]
    plain = dict(type='CIFAR10', pipeline=load)
    assert trained.pipelines_in(plain) == load
    assert trained.pipelines_in(dict(type='RepeatDataset', times=2, dataset=plain)) == load
    members = [plain, dict(plain, pipeline=crop)]
    assert trained.pipelines_in(dict(type='ConcatDataset', datasets=members)) == [load, crop]
    assert trained.pipelines_in(dict(type='MultiImageMixDataset', dataset=plain, pipeline=crop)) == [crop, load]
    assert trained.pipelines_in(dict(type='CIFAR10')) == []


def test_every_image_has_features_whatever_the_dataloader_leaves_out():
    dataloader = dict(batch_size=2, drop_last=True, num_batch_per_epoch=1, dataset=dict(type='CIFAR10'))
    runner = SimpleNamespace(cfg=dict(val_dataloader=dataloader), build_dataloader=lambda cfg: cfg)
    built = trained.remaining_batches(runner, 'val', Images(range(5)), 1, batch_size=3)
    assert set(built) == {'batch_size', 'dataset', 'sampler'}
    assert built['batch_size'] == 3 and len(built['dataset']) == 4
    assert dataloader['drop_last']  # the config stays
