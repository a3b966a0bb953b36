"""Configs for your own data: each builds, differs from its baseline by the method, and takes any number of classes."""
import copy

import pytest
import torch
from helpers.commands import CONFIGS
from helpers.configs import changed, load
from helpers.data import write_image
from helpers.detectors import as_list, heads_of
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmcausal import with_num_classes
from mmcausal.models import DetectionDeconfoundLinear
from mmcausal.registry import DATASETS, MODELS

LEAVES = sorted((CONFIGS / 'own_data').glob('*.py'))
DETECTORS = [path for path in LEAVES if 'rcnn' in path.stem]
CLASSIFIERS = [path for path in LEAVES if path not in DETECTORS]
ids = dict(ids=lambda path: path.stem)
# Written as the guide says
OWN = '''_base_ = __import__('mmcausal').config_path('own_data/{name}.py')
model = __import__('mmcausal').with_num_classes(_base_.model, 3)
data_preprocessor = dict(num_classes=3)
folder = dict(data_root={root!r}, val_per_class=1)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=folder)
'''


OWN_DETECTOR = '''_base_ = __import__('mmcausal').config_path('own_data/{name}.py')
classes = ('cat', 'dog', 'owl')
model = __import__('mmcausal').with_num_classes(_base_.model, len(classes))
files = dict(data_root='data/mine/', metainfo=dict(classes=classes))
train_dataloader = val_dataloader = test_dataloader = dict(dataset=files)
val_evaluator = dict(ann_file='data/mine/val.json', train_ann_file='data/mine/train.json')
test_evaluator = dict(ann_file='data/mine/test.json', train_ann_file='data/mine/train.json')
'''


@pytest.fixture
def folder(tmp_path):
    for label, (name, count) in enumerate({'a cat': 6, 'a dog': 4, 'an owl': 2}.items()):
        for split in ('train', 'test'):
            for number in range(count):
                write_image(tmp_path / split / name / f'{number}.png', 100 * label + 10 * number + (split == 'test'))
    return tmp_path


def own_config(folder, path):
    config = folder / f'{path.stem}.py'
    config.write_text(OWN.format(name=path.stem, root=str(folder)))
    cfg = Config.fromfile(config)
    cfg.model.backbone.init_cfg = None
    return cfg


@pytest.mark.parametrize('path', CLASSIFIERS, **ids)
def test_classifier_of_own_data_builds_and_reads_the_folder(path, folder):
    cfg = own_config(folder, path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(copy.deepcopy(cfg.model))
    assert model.head.num_classes == 3 and model.head.fc.weight.shape[0] == 3
    for split, counts in (('train', [5, 3, 1]), ('val', [1, 1, 1]), ('test', [6, 4, 2])):
        dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        assert torch.tensor(dataset.get_gt_labels()).bincount().tolist() == counts
        assert dataset.metainfo['class_counts'] == [5, 3, 1] and dataset[0]['inputs'].shape[0] == 3
    assert cfg.val_dataloader.dataset.pipeline[-2].type in ('CenterCrop', 'Resize')


@pytest.mark.parametrize('path', [path for path in CLASSIFIERS if path.stem.startswith('deconfound')], **ids)
def test_method_is_all_that_differs(path):
    baseline = path.with_name(path.name.replace('deconfound', 'linear'))
    assert changed(path, baseline) <= {'model.head.type', 'custom_hooks'}
    assert load(path).custom_hooks[-1].type == 'mmcausal.HeadDirectionHook'
    assert 'alpha' not in load(path).model.head  # to be chosen on held-out images


@pytest.mark.parametrize('path', [path for path in CLASSIFIERS if not path.stem.endswith('r32')], **ids)
def test_weights_of_your_own_are_one_option(path):
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({'model.backbone.init_cfg.checkpoint': 'mine.pth'})
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='mine.pth', prefix='backbone')


def test_own_folder_trains_and_validates(folder):
    cfg = own_config(folder, CONFIGS / 'own_data' / 'deconfound_r32.py')
    cfg.merge_from_dict({'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1, 'work_dir': str(folder / 'work'),
                         'train_dataloader.batch_size': 3})
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.head.fc.mean_feature.any()
    assert set(runner.test()) >= {'accuracy/top1', 'shot/overall', 'shot/few'}


@pytest.mark.parametrize('path', DETECTORS, **ids)
def test_detector_of_own_data_builds_with_its_classes(path, tmp_path):
    config = tmp_path / 'own.py'
    config.write_text(OWN_DETECTOR.format(name=path.stem))
    cfg = Config.fromfile(config)
    register_all_modules()
    with torch.device('meta'):  # without memory for the weights, or weights to download
        detector = MODELS.build(copy.deepcopy(cfg.model))
    heads = heads_of(detector)
    assert len(heads) == (3 if 'cascade' in path.stem else 1)
    for head in heads:
        assert head.num_classes == 3 and head.fc_cls.out_features == 4
        assert isinstance(head.fc_cls, DetectionDeconfoundLinear) == ('deconfound' in path.stem)
    for mask_head in as_list(cfg.model.roi_head.get('mask_head', [])):
        assert mask_head.num_classes == 3
    assert ('mask_head' in cfg.model.roi_head) == ('mask' in path.stem)
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.type == 'CocoDataset' and dataset.metainfo.classes == ('cat', 'dog', 'owl')
        assert dataset.ann_file == f'{split}.json'
    assert cfg.val_evaluator.type == cfg.test_evaluator.type == 'mmcausal.CocoMetric'
    assert cfg.val_evaluator.ann_file == 'data/mine/val.json' and cfg.test_evaluator.ann_file == 'data/mine/test.json'
    assert cfg.val_evaluator.metric == (['bbox', 'segm'] if 'mask' in path.stem else 'bbox')
    hooks = [hook.type for hook in cfg.custom_hooks]
    assert hooks == ['mmcausal.DetectorCheckHook', 'mmcausal.HeadDirectionHook'][:1 + ('deconfound' in path.stem)]


def test_every_head_gets_the_number_of_classes():
    cascade = Config.fromfile(CONFIGS / 'lvis' / 'htc_tde_r101.py').model
    changed_model = with_num_classes(cascade, 7)
    roi_head = changed_model.roi_head
    assert [head.num_classes for head in roi_head.bbox_head] == [7] * 3
    assert [head.num_classes for head in roi_head.mask_head] == [7] * 3
    assert cascade.roi_head.bbox_head[0].num_classes == 1203  # the original stays
    seesaw = with_num_classes(dict(bbox_head=dict(num_classes=9, loss_cls=dict(type='SeesawLoss', num_classes=9)),
                                   rpn_head=dict(num_classes=1), semantic_head=dict(num_classes=183)), 7)
    assert seesaw == dict(bbox_head=dict(num_classes=7, loss_cls=dict(type='SeesawLoss', num_classes=7)),
                          rpn_head=dict(num_classes=1), semantic_head=dict(num_classes=183))


@pytest.mark.parametrize('model, number, words', [
    (dict(type='FPN'), 3, "model must have a head with num_classes, but got {'type': 'FPN'}"),
    (dict(num_classes=3), 0, 'num_classes must be an integer of at least 1, but got 0'),
    (dict(num_classes=3), '3', "but got '3'"),
])
def test_bad_numbers_of_classes_are_refused(model, number, words):
    with pytest.raises(ValueError, match=words):
        with_num_classes(model, number)
