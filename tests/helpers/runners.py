"""Configs and Runners of short trainings, on digits and on generated shapes."""
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from helpers.commands import BASELINE, CONFIGS, DIGITS, IMAGENET_LT, ROOT
from mmcausal.registry import MODELS


def digits_runner(tmp_path, **changes):
    """Return the Runner of one epoch of the de-confounded classifier of digits."""
    cfg = Config.fromfile(ROOT / DIGITS)
    cfg.merge_from_dict(dict({'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1, 'randomness.seed': 0}, **changes))
    cfg.work_dir, cfg.experiment_name = str(tmp_path), tmp_path.name
    return Runner.from_cfg(cfg)


def baseline_cfg(work_dir, epochs=2, **changes):
    """Return the config of the linear classifier of digits, without validation."""
    cfg = Config.fromfile(ROOT / BASELINE)
    cfg.merge_from_dict(dict({'train_cfg.max_epochs': epochs, 'train_cfg.val_interval': 100}, **changes))
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir)
    cfg.randomness = dict(seed=0)
    return cfg


def head_of(layer, **kwargs):
    return dict(type='mmcausal.ClassifierHead', classifier=dict(type=f'mmcausal.{layer}', **kwargs))


def train_stage_two(work_dir, checkpoint, head, epochs=2, **changes):
    """Train another classifier on the features of a checkpoint and return the Runner."""
    cfg = baseline_cfg(work_dir, epochs, **{'model.type': 'mmcausal.StageTwoClassifier', 'model.head': head,
                                            'load_from': checkpoint, **changes})
    cfg.train_dataloader.sampler = dict(type='mmcausal.ClassPowerSampler')
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def unchanged(runner, stage_one):
    """Return whether the backbone is the one of stage one, batch statistics included."""
    before = stage_one.model.backbone.state_dict()
    return all(torch.equal(value, before[key]) for key, value in runner.model.backbone.state_dict().items())


def bbn():
    """Return the config of a BBN classifier of digits."""
    init_default_scope('mmpretrain')
    head = dict(type='LinearClsHead', num_classes=10, in_channels=128)
    return dict(type='mmcausal.BBNClassifier', backbone=dict(type='mmcausal.ResNet32', in_channels=1),
                neck=dict(type='GlobalAveragePooling'), head=head)


def save_untrained_resnet10(path):
    """Save a checkpoint of the ImageNet-LT config: random weights, and a head direction."""
    cfg = Config.fromfile(ROOT / IMAGENET_LT)
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.init_weights()
    with torch.no_grad():
        model.head.fc(model.extract_feat(torch.randn(4, 3, 64, 64))[-1])
    model.head.fc.update_direction(0.)
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def shapes_cfg(name, shapes, work_dir):
    """Return a config of configs/shapes_lvis, narrower still, for one epoch of three iterations."""
    cfg = Config.fromfile(CONFIGS / 'shapes_lvis' / f'{name}.py')
    cfg.merge_from_dict({
        'model.backbone.base_channels': 8,
        'model.neck.in_channels': [8, 16, 32, 64],
        'model.test_cfg.rcnn.max_per_img': 10,
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
        'default_hooks.logger.interval': 1,
        'randomness.seed': 0,
    })
    for loader in ('train', 'val', 'test'):
        cfg[f'{loader}_dataloader'].update(num_workers=0, persistent_workers=False)
        cfg[f'{loader}_dataloader'].dataset.data_root = str(shapes)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        evaluator.ann_file = str(shapes / 'annotations/shapes_val.json')
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'{name}_{work_dir.name}'
    return cfg


def coco_cfg(name, shapes, work_dir, classes, evaluator=None, filter_cfg=None):
    """Return the config of :func:`shapes_cfg` with the host's ``CocoDataset`` of some classes and ``CocoMetric``."""
    cfg = shapes_cfg(name, shapes, work_dir)
    roi_head = cfg.model.roi_head
    for head in (*roi_head.bbox_head, roi_head.mask_head):
        head.num_classes = len(classes)
    for loader, filters in (('train', filter_cfg), ('val', None), ('test', None)):
        folder = 'train' if loader == 'train' else 'val'
        cfg[f'{loader}_dataloader'].dataset.update(
            type='CocoDataset', metainfo=dict(classes=classes), data_prefix=dict(img=folder), filter_cfg=filters)
    annotations = shapes / 'annotations'
    cfg.val_evaluator = dict(type='mmcausal.CocoMetric', ann_file=str(annotations / 'shapes_val.json'),
                             metric=['bbox', 'segm'], train_ann_file=str(annotations / 'shapes_train.json'))
    cfg.val_evaluator.update(evaluator or {})
    cfg.test_evaluator = cfg.val_evaluator
    return cfg
