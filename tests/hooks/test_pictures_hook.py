"""Plots of a classifier after validations and tests of a real Runner."""
from types import SimpleNamespace
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from helpers.commands import CONFIGS
from mmengine.config import Config
from mmengine.runner import Runner

from mmcausal.evaluation import ShotAccuracy
from mmcausal.hooks import PicturesHook
from mmcausal.models import DeconfoundLinear

PICTURES = {'feature_norms', 'weight_norms', 'class_accuracy', 'confusion', 'reliability', 'direction_cosines',
            'decomposition', 'grad_cam'}


def test_pictures_reach_the_visualiser(tmp_path):
    cfg = Config.fromfile(CONFIGS / 'digits_lt' / 'deconfound-tde_small_ir100.py')
    cfg.merge_from_dict({'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 1})
    cfg.custom_hooks.append(dict(type='mmcausal.PicturesHook', interval=2, many=30, few=5))
    cfg.work_dir, cfg.experiment_name = str(tmp_path), tmp_path.name
    runner = Runner.from_cfg(cfg)
    shown = []
    with mock.patch.object(runner.visualizer, 'add_image', lambda *args: shown.append(args)):
        runner.train()
        assert len(shown) == 8 and {step for _, _, step in shown} == {2}
        assert {'feature_norms', 'decomposition', 'reliability', 'grad_cam'} <= {name for name, _, _ in shown}
        runner.test()
    assert len(shown) == 16 and all(image.shape[2] == 3 for _, image, _ in shown)
    assert not runner.model.head.fc._forward_pre_hooks


def test_pictures_are_of_the_averaged_model_that_was_validated(tmp_path):
    cfg = Config.fromfile(CONFIGS / 'digits_lt' / 'deconfound-tde_small_ir100.py')
    cfg.merge_from_dict({'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1})
    cfg.custom_hooks += [dict(type='EMAHook', momentum=0.02), dict(type='mmcausal.PicturesHook', many=30, few=5)]
    cfg.work_dir, cfg.experiment_name = str(tmp_path), tmp_path.name
    runner = Runner.from_cfg(cfg)
    weights = {}
    layer = runner.model.head.fc
    layer.register_forward_pre_hook(
        lambda layer, inputs: None if layer.training else weights.update(validated=layer.weight.clone()))

    def draw(layer, *args, **kwargs):
        weights.update(drawn=layer.weight.clone())
        return {}

    with mock.patch('mmcausal.visualization.classifier_pictures', draw):
        runner.train()
    assert torch.equal(weights['validated'], weights['drawn']) and not torch.equal(weights['drawn'], layer.weight)


def runner_with_pictures(tmp_path, *backends):
    cfg = Config.fromfile(CONFIGS / 'digits_lt' / 'deconfound-tde_small_ir100.py')
    cfg.merge_from_dict({'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1})
    cfg.custom_hooks.append(dict(type='mmcausal.PicturesHook', many=30, few=5))
    cfg.visualizer.vis_backends = [dict(type=backend) for backend in backends]
    cfg.work_dir, cfg.experiment_name = str(tmp_path), tmp_path.name
    return Runner.from_cfg(cfg)


def test_pictures_become_files(tmp_path):
    runner_with_pictures(tmp_path, 'LocalVisBackend').train()
    files = {path.name: cv2.imread(str(path)) for path in tmp_path.glob('*/vis_data/vis_image/*.png')}
    assert files.keys() == {f'{name}_1.png' for name in PICTURES}
    assert all(image.std() > 1 for image in files.values())


def test_pictures_reach_tensorboard(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    runner_with_pictures(tmp_path, 'TensorboardVisBackend').train()
    events = EventAccumulator(str(next(tmp_path.glob('*/vis_data'))))
    events.Reload()
    assert set(events.Tags()['images']) == PICTURES
    assert [event.step for event in events.Images('grad_cam')] == [1]


def test_pictures_of_a_wrapped_classifier(tmp_path):
    """Without a head direction there are five plots beside Grad-CAM, all of the total effect."""
    cfg = Config.fromfile(CONFIGS / 'digits_lt' / 'linear_small_ir100.py')
    cfg.model = dict(type='mmcausal.TDEClassifierTTA', alpha=0., module=cfg.model)
    cfg.custom_hooks.append(dict(type='mmcausal.PicturesHook', many=30, few=5))
    cfg.work_dir, cfg.experiment_name = str(tmp_path), tmp_path.name
    runner = Runner.from_cfg(cfg)
    with mock.patch.object(runner.visualizer, 'add_image') as add_image:
        runner.test()
    assert {call.args[0] for call in add_image.call_args_list} == PICTURES - {'direction_cosines', 'decomposition'}


def test_pictures_need_a_classifier_and_their_packages():
    for interval in (0, -1, 1.5, True, None):
        with pytest.raises(ValueError, match=f'interval must be an integer of at least 1, but got {interval}'):
            PicturesHook(interval=interval)
    hook, data = PicturesHook(), SimpleNamespace(dataset=SimpleNamespace(metainfo={}))
    with pytest.raises(ValueError, match='one TDELinear, but got 0'):
        hook.before_test_epoch(SimpleNamespace(model=torch.nn.Linear(1, 1), test_dataloader=data))
    with mock.patch('mmcausal.hosts.is_installed', lambda package: False):
        with pytest.raises(ImportError, match='needs torchmetrics and matplotlib'):
            PicturesHook()
    with pytest.raises(ValueError, match='class_counts'):
        hook.before_test_epoch(SimpleNamespace(model=DeconfoundLinear(8, 6), test_dataloader=data))


def test_groups_are_those_of_the_metric_unless_thresholds_are_given(tmp_path):
    runner = runner_with_pictures(tmp_path, 'LocalVisBackend')
    metric = ShotAccuracy(groups=dict(round=[0, 6, 8], straight=[1, 7]))
    metric.dataset_meta = runner.val_dataloader.dataset.metainfo
    evaluator = SimpleNamespace(metrics=[metric])
    hook = PicturesHook()
    hook.dataset = runner.val_dataloader.dataset
    assert {name: np.flatnonzero(mask).tolist() for name, mask in hook._groups(evaluator).items()} == dict(
        round=[0, 6, 8], straight=[1, 7])
    assert hook._groups(SimpleNamespace(metrics=[]))['many'].sum() == 0  # more than 100 images
    hook = PicturesHook(many=30, few=5)
    hook.dataset = runner.val_dataloader.dataset
    assert np.flatnonzero(hook._groups(evaluator)['few']).tolist() == [6, 7, 8, 9]
