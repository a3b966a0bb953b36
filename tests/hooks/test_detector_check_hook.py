"""The number of classes of a detector and of its data."""
from types import SimpleNamespace

import pytest
import torch
from helpers.detectors import small_detector
from helpers.runners import shapes_cfg
from mmengine.runner import Runner

from mmcausal.hooks import DetectorCheckHook


def test_number_of_classes_must_fit_all_data_before_the_first_iteration(shapes, tmp_path):
    cfg = shapes_cfg('cascade_tde_r18', shapes, tmp_path)
    for head in cfg.model.roi_head.bbox_head:
        head.num_classes = 23
    with pytest.raises(ValueError, match=r'`num_classes` \(23\) in Shared2FCBBoxHead'):
        Runner.from_cfg(cfg).train()
    cfg.experiment_name += '_test'
    with pytest.raises(ValueError, match=r'`num_classes` \(23\) in Shared2FCBBoxHead'):
        Runner.from_cfg(cfg).test()

    def loader(num_classes):
        return SimpleNamespace(dataset=SimpleNamespace(metainfo=dict(classes=tuple(range(num_classes)))))

    model = torch.nn.Module()
    model.num_classes = 24
    runner = SimpleNamespace(model=model, val_loop=object(), train_dataloader=loader(24), val_dataloader=loader(20))
    runner.logger = None
    with pytest.raises(ValueError, match=r'`num_classes` \(24\).* does not matches .* 20'):
        DetectorCheckHook().before_train(runner)  # the validation data, before the first epoch


def test_a_classifier_may_be_the_start_of_a_detector():
    detector = small_detector('mask-rcnn_deconfound_r50')
    hook = DetectorCheckHook()
    runner = SimpleNamespace(model=detector, iter=0)
    state = {'head.fc.weight': torch.zeros(9, 4), 'backbone.conv1.weight': torch.ones(1)}
    hook.after_load_checkpoint(runner, dict(state_dict=state))
    with pytest.raises(ValueError, match='roi_head.bbox_head.0.fc_cls.weight has shape'):
        hook.after_load_checkpoint(runner, dict(state_dict={'roi_head.bbox_head.0.fc_cls.weight': torch.zeros(7, 4)}))


def test_shards_have_no_names_to_compare():
    """FSDP may join the weights of a detector under other names; then it accepts its own checkpoint."""
    detector, hook = small_detector('mask-rcnn_deconfound_r50'), DetectorCheckHook()
    state = detector.state_dict()
    weight = detector.roi_head.bbox_head.fc_cls.weight
    del detector.roi_head.bbox_head.fc_cls.weight
    detector.roi_head.bbox_head.fc_cls.register_parameter('_flat', weight)
    runner = SimpleNamespace(model=detector, iter=0)
    with pytest.raises(ValueError, match='fc_cls.weight'):
        hook.after_load_checkpoint(runner, dict(state_dict=state))
    weight.ds_id = 0  # as DeepSpeed marks shards
    hook.after_load_checkpoint(runner, dict(state_dict=state))


def test_members_with_other_meta_information_are_checked_one_by_one():
    """MMDetection's ConcatDataset has a list of meta information then, which the host's hook does not take."""
    model = torch.nn.Module()
    model.num_classes = 3

    def runner_with(*numbers):
        members = [SimpleNamespace(metainfo=dict(classes=tuple(range(number)))) for number in numbers]
        dataset = SimpleNamespace(datasets=members, metainfo=[member.metainfo for member in members])
        return SimpleNamespace(model=model, logger=None, test_dataloader=SimpleNamespace(dataset=dataset),
                               train_dataloader=SimpleNamespace(dataset=dataset))

    hook = DetectorCheckHook()
    hook._check_classes(runner_with(3, 3), runner_with(3, 3).test_dataloader)
    hook.before_train_epoch(runner_with(3, 3))
    with pytest.raises(ValueError, match=r'`num_classes` \(3\).* does not matches .* 4'):
        hook._check_classes(runner_with(3, 4), runner_with(3, 4).test_dataloader)
    with pytest.raises(AssertionError, match=r'`num_classes` \(3\).* does not matches .* 4'):  # the host's
        hook.before_train_epoch(runner_with(3, 4))
