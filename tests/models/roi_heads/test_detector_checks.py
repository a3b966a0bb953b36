"""Losses, arguments and checkpoints that a TDE RoI head accepts or refuses."""
import copy
from types import SimpleNamespace

import pytest
import torch
from helpers.detectors import NUM_CLASSES, losses, predict, small_detector
from helpers.host_detectors import host_detector, host_model_cfg
from helpers.runners import shapes_cfg
from helpers.supported_detectors import CASCADE, DYNAMIC, FASTER_RCNN
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.runner import Runner
from torch import nn
from torch.nn import functional as F

from mmcausal import DeconfoundLinear, DetectionDeconfoundLinear, HeadDirectionHook, TDECascadeRoIHead, enable_tde


@ROOT_MODELS.register_module(force=True)
class SoftmaxFocalLoss(nn.Module):
    """A loss on C + 1 logits from outside any host."""
    use_sigmoid = False

    def forward(self, cls_score, label, weight=None, avg_factor=None, reduction_override=None):
        loss = F.cross_entropy(cls_score, label, reduction='none')
        return ((1 - (-loss).exp())**2 * loss).sum() / avg_factor


def test_any_loss_on_softmax_logits():
    detector = small_detector('cascade_tde_r101', bbox_head=dict(loss_cls=dict(type='SoftmaxFocalLoss')))
    assert losses(detector)[0].isfinite()


@pytest.mark.parametrize('loss, words', [
    (dict(type='CrossEntropyLoss', use_sigmoid=True), 'needs a softmax .* CrossEntropyLoss takes sigmoids'),
    (dict(type='EQLV2Loss', num_classes=NUM_CLASSES), 'EQLV2Loss'),
    (dict(type='CrossEntropyCustomLoss', use_sigmoid=False, num_classes=NUM_CLASSES), 'activation of its own'),
])
def test_losses_without_a_softmax_are_refused(loss, words):
    with pytest.raises(ValueError, match=words):
        small_detector('cascade_tde_r101', bbox_head=dict(loss_cls=loss))


def test_bad_classifier_arguments():
    with pytest.raises(ValueError, match='do not split into 3'):
        small_detector('cascade_tde_r101', classifier=dict(num_heads=3))
    with pytest.raises(ValueError, match='alpha must be'):
        small_detector('cascade_tde_r101', classifier=dict(alpha=-1))


def test_tde_without_direction_is_an_error():
    detector = small_detector('cascade_tde_r101')
    with pytest.raises(RuntimeError, match='HeadDirectionHook.*estimate_direction'):
        predict(detector)


def test_checkpoint_with_other_stages_is_refused():
    cascade, single = small_detector('cascade_tde_r101'), small_detector('mask-rcnn_tde_r50')
    two = small_detector('cascade_tde_r101')
    state = {k: v for k, v in cascade.state_dict().items() if 'bbox_head.2' not in k}
    with pytest.raises(ValueError, match=r'bbox_head.2.fc_cls.weight has shape \(7, 32\) here, but is not in the'):
        two.load_state_dict(state, strict=False)
    with pytest.raises(ValueError, match=r'bbox_head.0.fc_cls.weight has shape \(7, 32\) here, but is not .* and 1'):
        two.load_state_dict(single.state_dict(), strict=False)
    two.load_state_dict({k: v for k, v in state.items() if 'roi_head' not in k}, strict=False)  # e.g. a backbone


@pytest.mark.parametrize('name', ['cascade_baseline_r18', 'cascade_tde_r18'])
def test_checkpoint_of_other_stages_or_classes_is_refused(shapes, tmp_path, name):
    runner = Runner.from_cfg(shapes_cfg(name, shapes, tmp_path))
    state = runner.model.state_dict()
    two_stages = {key: value for key, value in state.items() if 'bbox_head.2.' not in key}
    torch.save(dict(state_dict=two_stages), tmp_path / 'two.pth')
    with pytest.raises(ValueError, match='not one of this .*bbox_head.2.fc_cls.weight has shape .* here, but is not'):
        runner.load_checkpoint(str(tmp_path / 'two.pth'))
    fewer = {key: value[1:] if 'fc_cls.' in key and len(value.shape) and len(value) == 25 else value
             for key, value in state.items()}
    torch.save(dict(state_dict=fewer), tmp_path / 'fewer.pth')
    runner._load_from = str(tmp_path / 'fewer.pth')
    with pytest.raises(ValueError, match=r'not one of this .*fc_cls.weight has shape \(25, .* here, but \(24, '):
        runner.test()


def test_dynamic_rcnn_keeps_its_dynamics():
    detector = host_detector(DYNAMIC, tde=True)
    stock = host_detector(DYNAMIC)
    for model in (detector, stock):
        model.roi_head.train_cfg.dynamic_rcnn.update(update_iter_interval=2, initial_iou=0.3)
        for step in range(2):
            torch.manual_seed(step)
            losses(model)
        assert model.roi_head.bbox_assigner.pos_iou_thr == 0.3 and model.roi_head.iou_history == []


def test_a_box_head_is_needed():
    for bbox_head in (None, []):
        with pytest.raises(ValueError, match='TDEStandardRoIHead needs a bbox_head'):
            host_detector(DYNAMIC, tde='mmcausal.TDEStandardRoIHead', bbox_head=bbox_head)


@pytest.mark.parametrize('name, missing', [
    ('Cascade', 'num_stages, stage_loss_weights'), ('HybridTaskCascade', 'num_stages, stage_loss_weights'),
    ('SCNet', 'num_stages, stage_loss_weights'), ('DoubleHead', 'reg_roi_scale_factor'),
    ('MaskScoring', 'mask_iou_head'), ('PointRend', 'point_head'), ('Trident', 'num_branch, test_branch_idx'),
    ('Grid', 'grid_roi_extractor, grid_head')])
def test_a_roi_head_on_the_settings_of_another(name, missing):
    """Such as the type of a cascade in the config of a Faster R-CNN, with the RoI head to use there."""
    with pytest.raises(ValueError, match=f'^TDE{name}RoIHead needs {missing}, which the config does not have; for the '
                                         'settings of StandardRoIHead, use mmcausal.TDEStandardRoIHead$'):
        host_detector(FASTER_RCNN, tde=f'mmcausal.TDE{name}RoIHead')


def test_required_arguments_may_come_by_position():
    cfg = copy.deepcopy(host_model_cfg(CASCADE))
    settings = dict(cfg.roi_head, train_cfg=cfg.train_cfg.rcnn, test_cfg=cfg.test_cfg.rcnn)
    required = [settings.pop(name) for name in ('type', 'num_stages', 'stage_loss_weights')][1:]
    assert TDECascadeRoIHead(*required, **settings).num_stages == 3


@pytest.mark.parametrize('layer', [DeconfoundLinear, DetectionDeconfoundLinear])
def test_a_classifier_that_does_not_know_the_foreground_is_refused_before_training(layer):
    stock = host_detector(FASTER_RCNN)
    stock.roi_head.bbox_head.fc_cls = layer(32, 7)
    with pytest.raises(ValueError, match="'roi_head.bbox_head.fc_cls' is not in one; use one such as"):
        HeadDirectionHook(0.9).before_train(SimpleNamespace(model=stock))
    HeadDirectionHook(0.9).before_train(SimpleNamespace(
        model=host_detector(FASTER_RCNN, tde=True), optim_wrapper=None, iter=0))


def test_detectors_are_not_classifiers():
    for model in (host_detector(FASTER_RCNN), host_detector('retinanet/retinanet_r50_fpn_1x_coco.py')):
        with pytest.raises(ValueError, match=f"detector {type(model).__name__} .* 'head.fc' is not in one; use"):
            enable_tde(model, 1.)
    ours = host_detector(FASTER_RCNN, tde=True)
    assert enable_tde(ours, 2., 'roi_head.bbox_head.fc_cls').alpha == 2.
