"""Every detection config loads, builds, dumps, reloads, and differs from its baseline by the method alone."""
import copy
import re
from pathlib import Path

import pytest
import torch
from helpers.commands import CONFIGS
from helpers.configs import changed, load
from helpers.detectors import as_list, heads_of
from mmdet.utils import register_all_modules
from mmengine.config import Config

from mmcausal.models import DetectionDeconfoundLinear
from mmcausal.models.roi_heads.label_masks import LabelMaskMixin, mask_heads, obstacle
from mmcausal.registry import DATASETS, HOOKS, MODELS

LEAVES = sorted(path for folder in ('lvis', 'shapes_lvis') for path in (CONFIGS / folder).glob('*.py'))
METHODS = ('deconfound', 'tde', 'cosine', 'cosine-tde', 'capsule', 'capsule-tde', 'seesaw-tde')


def method(path):
    return path.stem.split('_')[1]


def baseline(path):
    name = 'seesaw' if method(path) == 'seesaw-tde' else 'baseline'
    return path.with_name(path.name.replace(f'_{method(path)}_', f'_{name}_', 1))


def stock(roi_head):
    """Return the host's RoI head from which one of this package derives, by name."""
    return re.sub('^mmcausal.(TDE|LabelMask)', '', roi_head)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_config_loads_builds_dumps_and_reloads(path, tmp_path):
    register_all_modules()
    cfg, classes = load(path), num_classes(load(path))
    assert len(path.read_text().splitlines()) <= 15
    with torch.device('meta'):  # without memory for the weights, or weights to download
        detector = MODELS.build(copy.deepcopy(cfg.model))
    for head in heads_of(detector):
        assert isinstance(head.fc_cls, DetectionDeconfoundLinear) == (method(path) in METHODS)
        assert head.num_classes == classes
    for head in as_list(cfg.model.roi_head.mask_head):
        assert head.num_classes == classes
    if path.parent.name == 'lvis':  # of 1203 classes, one
        assert isinstance(detector.roi_head, LabelMaskMixin)
        assert not any(map(obstacle, mask_heads(detector.roi_head)))
    for hook in cfg.get('custom_hooks', []):
        HOOKS.build(dict(hook))
    assert cfg.val_evaluator.type == cfg.test_evaluator.type == 'mmcausal.LVISMetric'

    cfg.dump(tmp_path / 'config.py')
    assert Config.fromfile(tmp_path / 'config.py').to_dict() == cfg.to_dict()


def num_classes(cfg):
    """Return the number of classes of the dataset, which must be the same in every split."""
    datasets = [cfg[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test')]
    types = {dataset.get('dataset', dataset).type for dataset in datasets}
    assert len(types) == 1
    return len(DATASETS.get(types.pop()).METAINFO['classes'])


@pytest.mark.parametrize('path', [p for p in LEAVES if method(p) in METHODS],
                         ids=lambda path: f'{path.parent.name}/{path.stem}')
def test_config_differs_from_its_baseline_by_the_method(path):
    parts = {'type', 'classifier.alpha', 'classifier.normalizer', 'classifier'}
    if method(path).startswith(('cosine', 'capsule')):
        parts.add('classifier.num_heads')
    assert changed(path, baseline(path)) - {f'model.roi_head.{part}' for part in parts} == {'custom_hooks'}
    cfg = load(path)
    assert stock(cfg.model.roi_head.type) == stock(load(baseline(path)).model.roi_head.type)
    assert cfg.model.roi_head.type.startswith('mmcausal.TDE')
    assert [hook.type for hook in cfg.custom_hooks] == ['mmcausal.DetectorCheckHook', 'mmcausal.HeadDirectionHook']
    assert cfg.model.roi_head.classifier.get('alpha', 0) == (1.5 if 'tde' in method(path) else 0)


@pytest.mark.parametrize('path', [path for path in LEAVES if path.parent.name == 'lvis'], ids=lambda path: path.stem)
def test_recipe_of_the_paper(path):
    cfg = load(path)
    assert cfg.model.backbone.depth == (50 if 'r50' in path.stem else 101) and cfg.train_cfg.max_epochs == 20
    assert cfg.param_scheduler[1].milestones == [16, 19]
    rate = 0.01 if path.stem.startswith('htc') and 'x101' in path.stem else 0.02  # the authors' for that network
    assert (cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay) == (rate, 1e-4)
    assert cfg.auto_scale_lr.base_batch_size == 16 and cfg.model.test_cfg.rcnn.max_per_img == 300
    assert cfg.model.test_cfg.rcnn.score_thr == 1e-4
    version = 'V05' if 'v0.5' in path.stem else 'V1'
    dataset = cfg.train_dataloader.dataset
    if 'rfs' in path.stem:
        assert dataset.type == 'ClassBalancedDataset'
        dataset = dataset.dataset
    assert dataset.type == f'mmcausal.LVIS{version}Dataset'
    if method(path) in METHODS:
        assert cfg.custom_hooks[-1].momentum == 0.9998
    if method(path).startswith(('cosine', 'capsule')):
        assert cfg.model.roi_head.classifier.num_heads == 1
    resize, = (step for step in dataset.pipeline if 'Resize' in step.type)
    if path.stem.endswith('_ms'):
        assert resize.scales == [(1333, side) for side in (640, 672, 704, 736, 768, 800)]
    else:
        assert resize.type == 'Resize' and resize.scale == (1333, 800)


def test_repeat_factor_sampling_is_around_the_same_data():
    cfg = load(CONFIGS / 'lvis' / 'cascade_tde_r101.py')
    sampled = load(CONFIGS / 'lvis' / 'cascade_tde_r101_rfs.py').train_dataloader.dataset
    assert sampled.type == 'ClassBalancedDataset' and sampled.dataset == cfg.train_dataloader.dataset


def test_htc_is_a_cascade_with_mask_flow_as_the_hosts():
    ours = load(CONFIGS / 'lvis' / 'htc_baseline_r101.py').model
    host = load(_host_config('htc/htc-without-semantic_r50_fpn_1x_coco.py')).model
    assert ours.type == host.type and stock(ours.roi_head.type) == host.roi_head.type
    for key in ('interleaved', 'mask_info_flow', 'num_stages', 'stage_loss_weights', 'bbox_roi_extractor'):
        assert ours.roi_head[key] == host.roi_head[key]
    for own, theirs in zip(ours.roi_head.mask_head, host.roi_head.mask_head):
        assert dict(own, num_classes=80) == dict(dict(with_conv_res=True), **theirs)


def _host_config(name):
    import mmdet
    return Path(mmdet.__file__).parent / '.mim' / 'configs' / name
