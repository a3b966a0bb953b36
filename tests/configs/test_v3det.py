"""The configs for 13,204 classes: what differs from the host's, and a step of the real classifiers."""
import copy

import pytest
import torch
from helpers.commands import CONFIGS
from helpers.configs import changed, flatten, load
from helpers.detectors import heads_of
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.hub import get_config

from mmcausal.models import DetectionDeconfoundLinear
from mmcausal.registry import MODELS

BASELINE, DECONFOUND = (CONFIGS / 'v3det' / f'cascade_{method}_r50.py' for method in ('baseline', 'deconfound'))
NUM_CLASSES = 13204


def test_method_is_all_that_differs():
    assert changed(DECONFOUND, BASELINE) == {'model.roi_head.type', 'custom_hooks'}
    assert load(DECONFOUND).model.roi_head.classifier == {}  # alpha is chosen on held-out images
    assert [hook.type for hook in load(DECONFOUND).custom_hooks] == ['mmcausal.DetectorCheckHook',
                                                                    'mmcausal.HeadDirectionHook']


def without_scopes(value):
    """Return a config without the ``_scope_`` that inheriting across packages writes into it."""
    if isinstance(value, dict):
        return {key: without_scopes(item) for key, item in value.items() if key != '_scope_'}
    return [without_scopes(item) for item in value] if isinstance(value, list) else value


def test_baseline_differs_from_the_hosts_by_its_classifiers():
    stock = get_config('mmdet::v3det/cascade_rcnn_r50_fpn_8x4_sample1e-3_mstrain_v3det_2x.py')
    own, theirs = (flatten(without_scopes(cfg.to_dict())) for cfg in (load(BASELINE), stock))
    differing = {key for key in own.keys() | theirs.keys() if own.get(key) != theirs.get(key)}
    assert {key.split('.')[0] for key in differing} <= {
        'box_head', 'custom_hooks', 'default_hooks', 'head_direction_hook', 'model', 'test_evaluator', 'val_evaluator'}
    assert {key for key in differing if key.startswith('model')} == {'model.roi_head.bbox_head'}
    for mine, stages in zip(own['model.roi_head.bbox_head'], theirs['model.roi_head.bbox_head']):
        assert {key for key in stages if mine.get(key) != stages[key]} == {'cls_predictor_cfg', 'loss_cls'}
        assert mine.keys() == stages.keys() - {'cls_predictor_cfg'}


@pytest.mark.parametrize('path', [BASELINE, DECONFOUND], ids=['baseline', 'deconfound'])
def test_a_step_with_all_classes(path):
    register_all_modules()
    model = copy.deepcopy(load(path).model)
    model.backbone = dict(type='ResNet', depth=18, base_channels=8, num_stages=4, out_indices=(0, 1, 2, 3),
                          norm_cfg=dict(type='BN'))
    model.neck.in_channels = [8, 16, 32, 64]
    for rcnn in model.train_cfg.rcnn:
        rcnn.sampler.num = 32
    model.train_cfg.rpn_proposal.max_per_img = model.test_cfg.rpn.max_per_img = 50
    detector = MODELS.build(model)
    detector.init_weights()
    layers = [head.fc_cls for head in heads_of(detector)]
    assert [layer.out_features for layer in layers] == [NUM_CLASSES + 1] * 3

    torch.manual_seed(0)
    data = detector.data_preprocessor(demo_mm_inputs(1, [[3, 128, 128]], num_classes=NUM_CLASSES), True)
    losses = detector(**data, mode='loss')
    detector.parse_losses(losses)[0].backward()
    assert all(layer.weight.grad.isfinite().all() and layer.weight.grad.any() for layer in layers)
    if path is DECONFOUND:
        for layer in layers:
            assert isinstance(layer, DetectionDeconfoundLinear) and layer.observed[-2] > 0
            layer.update_direction(0.9998)
            layer.alpha = 1.5
    detector.eval()
    with torch.no_grad():
        sample = detector(**data, mode='predict')[0]
    assert len(sample.pred_instances) > 0 and sample.pred_instances.scores.isfinite().all()
    assert int(sample.pred_instances.labels.max()) < NUM_CLASSES
