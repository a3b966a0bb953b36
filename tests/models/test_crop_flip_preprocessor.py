"""Crops and flips of batches: the images that MMPretrain's pipeline may give, equally often."""
from collections import Counter

import numpy as np
import pytest
import torch
from helpers.runners import baseline_cfg
from mmcv.transforms import Compose
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample

from mmcausal.models import crop_flip_preprocessor
from mmcausal.registry import MODELS, TRANSFORMS

HEIGHT, WIDTH = 3, 4


def image():
    return torch.arange(1, 2 * HEIGHT * WIDTH + 1, dtype=torch.uint8).view(2, HEIGHT, WIDTH)


def build(**arguments):
    init_default_scope('mmpretrain')
    return MODELS.build(dict(type='mmcausal.CropFlipDataPreprocessor', **arguments))


def drawn(preprocessor, number):
    torch.manual_seed(0)
    inputs = preprocessor(dict(inputs=[image()] * number), training=True)['inputs']
    assert inputs.shape == (number, 2, HEIGHT, WIDTH) and inputs.dtype == torch.float32
    return Counter(tuple(each.flatten().int().tolist()) for each in inputs)


def possible(padding):
    """Return the crops of the padded image and their mirror images."""
    padded = np.pad(image().numpy(), [(0, 0), (padding, padding), (padding, padding)])
    crops = [padded[:, top:top + HEIGHT, left:left + WIDTH]
             for top in range(2 * padding + 1) for left in range(2 * padding + 1)]
    return {tuple(each.flatten().tolist()) for crop in crops for each in (crop, crop[:, :, ::-1])}


def test_all_crops_and_flips_equally_often():
    counts = drawn(build(crop_padding=1), 9000)
    assert set(counts) == possible(1) and len(counts) == 18
    assert all(abs(count - 500) < 5 * 500**0.5 for count in counts.values())


def test_images_are_those_of_the_host_pipeline():
    init_default_scope('mmpretrain')
    pipeline = Compose([TRANSFORMS.build(dict(type='RandomCrop', crop_size=(HEIGHT, WIDTH), padding=1)),
                        TRANSFORMS.build(dict(type='RandomFlip', prob=0.5, direction='horizontal'))])
    np.random.seed(0)
    images = (pipeline(dict(img=image().permute(1, 2, 0).numpy()))['img'] for _ in range(400))
    found = {tuple(each.transpose(2, 0, 1).flatten().tolist()) for each in images}
    assert found == set(drawn(build(crop_padding=1), 400))


@pytest.mark.parametrize('arguments, expected', [
    (dict(crop_padding=0, flip_prob=0.), lambda image: image),
    (dict(crop_padding=0, flip_prob=1.), lambda image: image.flip(-1))])
def test_limits(arguments, expected):
    assert drawn(build(**arguments), 3) == {tuple(expected(image()).flatten().tolist()): 3}


@pytest.mark.parametrize('is_list', [True, False])
def test_evaluation_and_normalisation_are_those_of_the_host(is_list):
    init_default_scope('mmpretrain')
    arguments = dict(mean=[5., 6.], std=[2., 3.], num_classes=3)
    inputs = [image(), image().flip(0)]
    inputs = inputs if is_list else torch.stack(inputs)
    host, ours = ClsDataPreprocessor(**arguments), build(crop_padding=0, flip_prob=0., **arguments)
    for training in (True, False):
        assert torch.equal(ours(dict(inputs=inputs), training)['inputs'], host(dict(inputs=inputs), training)['inputs'])
    assert torch.equal(build(**arguments)(dict(inputs=inputs))['inputs'], host(dict(inputs=inputs))['inputs'])


def labelled(values):
    """Return images of one value each, with that value as label."""
    return dict(inputs=[torch.full((2, 2, 2), value, dtype=torch.uint8) for value in values],
                data_samples=[DataSample().set_gt_label(value) for value in values])


def test_labels_keep_their_images():
    batch = build(crop_padding=0, num_classes=3)(labelled([2, 0, 1]), training=True)
    assert [int(sample.gt_label) for sample in batch['data_samples']] == [2, 0, 1]
    assert batch['inputs'][:, 0, 0, 0].tolist() == [2, 0, 1]


def test_mixup_follows():
    torch.manual_seed(0)
    np.random.seed(0)
    augments = dict(augments=[dict(type='Mixup', alpha=1.)], probs=[1.])
    batch = build(crop_padding=0, num_classes=3, batch_augments=augments)(labelled([2, 0, 1]), training=True)
    scores = torch.stack([sample.gt_score for sample in batch['data_samples']])
    assert ((scores > 0) & (scores < 1)).any()
    torch.testing.assert_close(batch['inputs'][:, 0, 0, 0], scores @ torch.arange(3.))


def test_ranks_with_one_seed_draw_differently_and_as_many_numbers(monkeypatch):
    crops, after = [], []
    monkeypatch.setattr(crop_flip_preprocessor, 'get_world_size', lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(crop_flip_preprocessor, 'get_rank', lambda rank=rank: rank)
        torch.manual_seed(0)
        crops.append(build()(dict(inputs=[image()] * 20), training=True)['inputs'])
        after.append(torch.rand(1))
    assert not torch.equal(*crops) and torch.equal(*after)


def test_inputs_are_contiguous_as_the_hosts():
    assert build()(dict(inputs=[image()] * 2), training=True)['inputs'].is_contiguous()


@pytest.mark.parametrize('arguments, words', [
    (dict(crop_padding=-1), 'crop_padding must be an integer of at least 0, but got -1'),
    (dict(crop_padding=1.5), 'crop_padding must be'),
    (dict(flip_prob=1.1), 'flip_prob must be'),
    (dict(flip_prob='0.5'), 'flip_prob must be')])
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        build(**arguments)


def test_images_of_several_sizes_are_named():
    with pytest.raises(ValueError, match=r'images of one size, but a batch has \[\(2, 3, 4\), \(2, 4, 3\)\]'):
        build()(dict(inputs=[image(), image().transpose(1, 2)]), training=True)


def test_training(tmp_path):
    cfg = baseline_cfg(tmp_path, epochs=1)
    cfg.data_preprocessor = ConfigDict(cfg.data_preprocessor, type='mmcausal.CropFlipDataPreprocessor', crop_padding=1)
    runner = Runner.from_cfg(cfg)
    assert runner.model.data_preprocessor.crop_padding == 1
    runner.train()
