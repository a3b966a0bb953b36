"""TDE RoI heads on the host's CocoDataset, with classes of the user, in real trainings."""
import json

import pytest
import torch
from helpers.runners import coco_cfg
from mmengine.runner import Runner


def categories_of(shapes):
    content = json.loads((shapes / 'annotations/shapes_train.json').read_text())
    return [category['name'] for category in content['categories']]


def as_standard(cfg):
    """Make a Mask R-CNN of a cascade."""
    roi_head = cfg.model.roi_head
    for key in ('num_stages', 'stage_loss_weights'):
        roi_head.pop(key)
    roi_head.update(type='mmcausal.TDEStandardRoIHead', bbox_head=roi_head.bbox_head[0])
    cfg.model.train_cfg.rcnn = cfg.model.train_cfg.rcnn[0]
    return cfg


@pytest.mark.parametrize('kind', ['cascade', 'standard'])
def test_training_and_validation_by_frequency(shapes, tmp_path, kind):
    classes = tuple(categories_of(shapes)[3:11])
    cfg = coco_cfg('cascade_tde_r18', shapes, tmp_path, classes, dict(groups=(.3, .6)), dict(filter_empty_gt=True))
    runner = Runner.from_cfg(as_standard(cfg) if kind == 'standard' else cfg)
    runner.train()
    heads = runner.model.roi_head.bbox_head
    for head in heads if kind == 'cascade' else [heads]:
        assert head.fc_cls.num_updates == runner.iter > 0 and head.fc_cls.mean_feature.any()
    log = (tmp_path / runner.timestamp / f'{runner.timestamp}.log').read_text()
    assert 'AP by training images per category' in log and 'coco/segm_APf' in log and 'never updated' not in log
    counts = runner.val_evaluator.metrics[0].counts
    annotations = json.loads((shapes / 'annotations/shapes_train.json').read_text())['annotations']
    images = {(a['category_id'], a['image_id']) for a in annotations}
    assert counts.tolist() == [sum(category == 4 + label for category, _ in images) for label in range(8)]


def test_classes_that_the_file_lacks_are_named_before_the_first_iteration(shapes, tmp_path):
    """The host would give the other classes other labels."""
    classes = (*categories_of(shapes)[:2], 'axolotl', *categories_of(shapes)[2:4])
    cfg = coco_cfg('cascade_tde_r18', shapes, tmp_path, classes, dict(type='CocoMetric', train_ann_file=None))
    with pytest.raises(ValueError, match="shapes_train.json must have .* 5 classes .* none named 'axolotl'; it has"):
        Runner.from_cfg(host_metric(cfg)).train()
    cfg = coco_cfg('cascade_tde_r18', shapes, tmp_path / 'metric', classes)
    with pytest.raises(ValueError, match="the evaluator's ann_file must have .* none named 'axolotl'"):
        Runner.from_cfg(cfg).train()


def host_metric(cfg):
    cfg.val_evaluator = cfg.test_evaluator = dict(type='CocoMetric', ann_file=cfg.val_evaluator.ann_file)
    return cfg


def test_a_training_without_foreground_does_not_ask_for_the_hook(shapes, tmp_path):
    cfg = host_metric(coco_cfg('cascade_tde_r18', shapes, tmp_path, ('axolotl', 'yak')))
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if 'DetectorCheck' not in hook['type']]
    cfg.train_dataloader.batch_size = 12
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.experiment_name = 'unvalidated'
    cfg.work_dir = str(tmp_path / 'unvalidated')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert not any(head.fc_cls.mean_feature.any() for head in runner.model.roi_head.bbox_head)
    log = (tmp_path / 'unvalidated' / runner.timestamp / f'{runner.timestamp}.log').read_text()
    assert 'The head direction was never updated: no proposal was foreground: check the class names' in log
    state = torch.load(tmp_path / 'unvalidated' / 'epoch_1.pth', map_location='cpu', weights_only=False)['state_dict']
    assert state['roi_head.bbox_head.0.fc_cls.num_updates'] == 0
