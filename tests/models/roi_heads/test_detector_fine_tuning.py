"""Detectors that start from a checkpoint of other classes, and tests with one, in real Runners."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.detectors import small_detector
from helpers.runners import shapes_cfg
from mmdet.apis import DetInferencer
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_state_dict

from mmcausal.datasets.shapes import make_shapes_dataset, shape_classes

LEFT_OUT = 'has another classifier, so its class weights and head direction are left out: roi_head.bbox_head.0.fc_cls'


@pytest.fixture(scope='module')
def few(tmp_path_factory):
    """The folder of a dataset of ten classes, and their names."""
    root = tmp_path_factory.mktemp('few')
    make_shapes_dataset(root, num_train=10, num_val=10, num_classes=10, imbalance_ratio=2, image_size=160)
    return SimpleNamespace(root=root, classes=tuple('_'.join(pair) for pair in shape_classes(10)))


def few_cfg(few, work_dir, name='cascade_tde_r18', classes=None, **changes):
    """Return the config of a detector of ten classes, for one epoch of two iterations."""
    cfg = shapes_cfg(name, few.root, work_dir)
    classes = classes or few.classes
    for head in cfg.model.roi_head.bbox_head:
        head.num_classes = len(classes)
    cfg.model.roi_head.mask_head.num_classes = len(classes)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.metainfo = dict(classes=classes)
    cfg.train_dataloader.batch_size = 5
    cfg.train_cfg.val_interval = 2
    cfg.merge_from_dict(changes)
    return cfg


@pytest.fixture(scope='module')
def trained(few, tmp_path_factory):
    """The checkpoint of a detector of ten classes."""
    work_dir = tmp_path_factory.mktemp('trained')
    Runner.from_cfg(few_cfg(few, work_dir)).train()
    return str(work_dir / 'epoch_1.pth')


@pytest.fixture(scope='module')
def many(few, trained, tmp_path_factory):
    """A checkpoint as if it were of 24 classes."""
    checkpoint = torch.load(trained, weights_only=False)
    state = checkpoint['state_dict']
    for stage in range(3):
        name = f'roi_head.bbox_head.{stage}.fc_cls.'
        state[f'{name}weight'] = torch.randn(25, state[f'{name}weight'].shape[1])
        assert state[f'{name}mean_feature'].any() and state[f'{name}num_updates'] == 2
    checkpoint['meta']['dataset_meta'] = dict(classes=tuple('_'.join(pair) for pair in shape_classes(24)))
    path = tmp_path_factory.mktemp('many') / 'many.pth'
    torch.save(checkpoint, path)
    return str(path)


def classifiers_of(runner):
    return [head.fc_cls for head in runner.model.roi_head.bbox_head]


@pytest.mark.parametrize('changes', [{}, {'custom_hooks': [dict(type='mmcausal.HeadDirectionHook', momentum=0.5)],
                                          'model.roi_head.classifier.num_heads': 4,
                                          'model.roi_head.classifier.normalizer': 'cosine'}])
def test_fine_tuning_from_other_classes(few, many, tmp_path, changes):
    runner = Runner.from_cfg(few_cfg(few, tmp_path, load_from=many, **changes))
    messages, start = [], []
    runner.logger.warning = messages.append
    runner.model.register_forward_pre_hook(
        lambda model, args: start.append([layer.mean_feature.any() for layer in classifiers_of(runner)]))
    runner.train()
    told = [message for message in messages if LEFT_OUT in message]
    assert len(told) == 1 and all(f'bbox_head.{stage}.fc_cls.weight has shape (11, ' in told[0] for stage in range(3))
    assert start[0] == [False] * 3 and [int(layer.num_updates) for layer in classifiers_of(runner)] == [2] * 3
    if not changes:
        assert 'lvis/bbox_AP' in runner.test()  # which was refused before training


def test_resuming_keeps_every_bit(few, trained, tmp_path):
    runner = Runner.from_cfg(few_cfg(few, tmp_path, load_from=trained, resume=True))  # finished: no step follows
    runner.train()
    saved = torch.load(trained, weights_only=False)['state_dict']
    assert runner.iter == 2 and all(torch.equal(value, saved[name])
                                    for name, value in runner.model.state_dict().items())


@pytest.mark.parametrize('name', ['cascade_tde_r18', 'cascade_baseline_r18'])
def test_a_test_with_other_classes_is_refused(few, many, tmp_path, name):
    sentence = r'fc_cls.weight has shape \(11, .* here, but \(25, .* in the checkpoint'
    runner = Runner.from_cfg(few_cfg(few, tmp_path, name, load_from=many))
    with pytest.raises(ValueError, match=f'not one of this CascadeRCNN.*{sentence}.*You can fine-tune'):
        runner.test()
    if name == 'cascade_tde_r18':
        cfg = few_cfg(few, tmp_path / 'two', load_from=many, custom_hooks=[dict(type='mmcausal.HeadDirectionHook')])
        with pytest.raises(ValueError, match=f'not one of this CascadeRCNN.*{sentence}'):
            Runner.from_cfg(cfg).test()
        inferencer = DetInferencer(few_cfg(few, tmp_path), many, device='cpu', show_progress=False)
        with pytest.raises(ValueError, match=f'not one of this classifier.*{sentence}'):
            inferencer(np.zeros((96, 96, 3), np.uint8))


def test_names_in_another_order_are_refused(few, trained, tmp_path):
    swapped = (few.classes[1], few.classes[0], *few.classes[2:])
    cfg = few_cfg(few, tmp_path, 'cascade_tde_r18', load_from=trained)
    cfg.test_dataloader.dataset.type = 'CocoDataset'  # which takes any order
    cfg.test_dataloader.dataset.metainfo = dict(classes=swapped)
    cfg.test_evaluator = dict(type='CocoMetric', ann_file=cfg.test_evaluator.ann_file)
    with pytest.raises(ValueError, match=f'labels of this CocoDataset, but {swapped[0]!r} is class 0 here'):
        Runner.from_cfg(cfg).test()


@pytest.mark.parametrize('name, num_classes', [
    ('mask-rcnn_tde_r50', 9), ('htc_tde_r101', 3), ('cascade_seesaw-tde_r101', 9)])
def test_every_roi_head_leaves_the_classifier_out(name, num_classes):
    source, detector = small_detector(name), small_detector(name, num_classes)
    state = source.state_dict()
    for key in state:
        if 'mean_feature' in key:
            state[key].fill_(1)
    own = {key: value.clone() for key, value in detector.state_dict().items()}
    load_state_dict(detector, state)
    for key, value in detector.state_dict().items():
        fits = 'fc_cls' not in key and own[key].shape == state[key].shape
        assert torch.equal(value, (state if fits else own)[key])
