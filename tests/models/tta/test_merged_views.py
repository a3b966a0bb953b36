"""Metrics, plots and stores of test-time augmentation take the class of the merged scores, not of one view."""
import copy
from unittest import mock

import numpy as np
import pytest
import torch
from helpers.commands import DIGITS, ROOT
from helpers.detectors import small_detector
from mmcv.transforms import BaseTransform
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmcausal.analysis import collect_features
from mmcausal.models import TDEDetectorTTA, TDELinear
from mmcausal.visualization import example_indices

CLASSES = 10


@TRANSFORMS.register_module()
class Turn(BaseTransform):
    """Turn digits by quarters, so that views disagree."""

    def __init__(self, quarters):
        self.quarters = quarters

    def transform(self, results):
        return dict(results, img=np.ascontiguousarray(np.rot90(results['img'], self.quarters)))


VIEWS = [dict(type='TestTimeAug', transforms=[[dict(type='Turn', quarters=2), dict(type='Turn', quarters=0)],
                                              [dict(type='PackInputs')]])]
METRICS = [dict(type='Accuracy', topk=(1, )), dict(type='SingleLabelMetric', items=('precision', 'recall')),
           dict(type='ConfusionMatrix'), dict(type='mmcausal.ShotAccuracy', many=30, few=5, classwise=True)]


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained')
    cfg = Config.fromfile(ROOT / DIGITS)
    cfg.merge_from_dict({'train_cfg.max_epochs': 4, 'train_cfg.val_interval': 9, 'randomness.seed': 0,
                         'default_hooks.checkpoint.interval': 4})
    cfg.work_dir, cfg.experiment_name = str(folder), 'trained'
    Runner.from_cfg(cfg).train()
    return str(folder / 'epoch_4.pth')


def augmented_runner(tmp_path, checkpoint, wrapper, hooks=(), **model):
    cfg = Config.fromfile(ROOT / DIGITS)
    cfg.merge_from_dict({f'model.{key}': value for key, value in model.items()})
    cfg.model = dict(type=wrapper, module=cfg.model)
    cfg.test_dataloader.dataset.pipeline, cfg.test_evaluator = VIEWS, METRICS
    cfg.work_dir, cfg.experiment_name, cfg.load_from = str(tmp_path), tmp_path.name, checkpoint
    cfg.custom_hooks = [*cfg.custom_hooks, *hooks]
    return Runner.from_cfg(cfg)


def scores_of_views(runner, alpha):
    """Return the scores (views, N, C) by the network alone, and the labels (N,), as an oracle."""
    layer = next(module for module in runner.model.modules() if isinstance(module, TDELinear))
    before, layer.alpha = layer.alpha, alpha
    scores, labels = [], []
    with torch.no_grad():
        for batch in runner.test_dataloader:
            views = [torch.stack(list(images)).float() for images in batch['inputs']]
            scores.append(torch.stack([runner.model.module((view - 127.5) / 127.5).softmax(-1) for view in views]))
            labels += [int(sample.gt_label) for sample in batch['data_samples'][0]]
    layer.alpha = before
    return torch.cat(scores, 1), torch.tensor(labels)


@pytest.mark.parametrize('wrapper', ['mmcausal.TDEClassifierTTA', 'mmpretrain.AverageClsScoreTTA'])
@pytest.mark.parametrize('alpha', [0., 0.8])
def test_every_metric_counts_the_merged_class(tmp_path, checkpoint, wrapper, alpha):
    runner = augmented_runner(tmp_path, checkpoint, wrapper, **{'head.alpha': alpha})
    metrics = runner.test()
    views, labels = scores_of_views(runner, alpha)
    merged, first = views.mean(0).argmax(-1), views[0].argmax(-1)
    assert (merged != first).any() and (merged != views[1].argmax(-1)).any()
    by_class = [100 * float((merged[labels == label] == label).float().mean()) for label in range(CLASSES)]
    assert metrics['shot/overall'] == pytest.approx(100 * float((merged == labels).float().mean()))
    assert metrics['shot/classwise'] == pytest.approx(by_class)
    assert metrics['accuracy/top1'] == pytest.approx(metrics['shot/overall'], abs=1e-4)
    assert metrics['single-label/recall'] == pytest.approx(np.mean(by_class), abs=1e-4)
    confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.long)
    confusion.index_put_((labels, merged), torch.tensor(1), accumulate=True)
    assert torch.equal(metrics['confusion_matrix/result'], confusion)
    if alpha and wrapper == 'mmcausal.TDEClassifierTTA':
        total_effect = scores_of_views(runner, 0.)[0].mean(0).argmax(-1)
        expected = 100 * float((total_effect == labels).float().mean())
        assert metrics['shot/total_effect_overall'] == pytest.approx(expected) != metrics['shot/overall']
    else:  # the host's wrapper would keep the total effect of the first view
        assert not any('total_effect' in name for name in metrics)


@pytest.mark.parametrize('wrapper', ['mmcausal.TDEClassifierTTA', 'mmpretrain.AverageClsScoreTTA'])
def test_pictures_show_the_merged_class(tmp_path, checkpoint, wrapper):
    hook = dict(type='mmcausal.PicturesHook', many=30, few=5)
    runner = augmented_runner(tmp_path, checkpoint, wrapper, [hook], **{'head.alpha': 0.8})
    drawn = {}

    def draw(name):
        return lambda *args, **kwargs: drawn.update({name: (args, kwargs)}) or {}

    with mock.patch('mmcausal.visualization.classifier_pictures', draw('pictures')), \
            mock.patch('mmcausal.visualization.grad_cam.grad_cams',
                       lambda classifier, layer, image, alphas, labels: drawn.setdefault('cams', []).append(labels) or {
                           name: (label, np.zeros((8, 8))) for name, label in labels.items()}):
        runner.test()
    expected = {'TDE': scores_of_views(runner, 0.8)[0].mean(0)}
    if wrapper == 'mmcausal.TDEClassifierTTA':
        expected['total effect'] = scores_of_views(runner, 0.)[0].mean(0)
    (layer, features, labels, *_), kwargs = drawn['pictures']
    assert kwargs['probs'].keys() == expected.keys() and len(features) == len(labels) == 500
    for name, probs in expected.items():
        np.testing.assert_allclose(kwargs['probs'][name], probs.numpy(), atol=1e-5)
    counts = runner.test_dataloader.dataset.metainfo['class_counts']
    assert drawn['cams'] == [{name: int(probs[index].argmax()) for name, probs in expected.items()}
                             for index in example_indices(labels, counts)]


def test_a_store_refuses_several_views(tmp_path, checkpoint):
    runner = augmented_runner(tmp_path, checkpoint, 'mmcausal.TDEClassifierTTA')
    with pytest.raises(ValueError, match='features must be those of one view per image'):
        collect_features(runner.model.eval(), runner.model.module.head.fc, runner.test_dataloader)


def test_merged_boxes_keep_the_labels_of_the_better_view():
    """Two views see one object as classes 1 and 2, and each sees one more; the first view is not the better one."""
    nms = dict(type='nms', iou_threshold=0.5, class_agnostic=True)
    wrapper = TDEDetectorTTA(small_detector('mask-rcnn_tde_r50'), tta_cfg=dict(nms=nms, max_per_img=3))

    def view(boxes, scores, labels, flip):
        sample = DetDataSample(metainfo=dict(img_shape=(100, 100), ori_shape=(100, 100), flip=flip,
                                             flip_direction='horizontal' if flip else None))
        sample.pred_instances = InstanceData(bboxes=torch.tensor(boxes), scores=torch.tensor(scores),
                                             labels=torch.tensor(labels))
        return sample

    first = view([[0., 0., 20., 20.], [50., 50., 70., 70.]], [0.6, 0.5], [1, 0], False)
    second = view([[80., 0., 100., 20.], [0., 80., 20., 100.]], [0.9, 0.2], [2, 3], True)
    merged, = wrapper.merge_preds([copy.deepcopy([first, second])])
    assert merged.pred_instances.labels.tolist() == [2, 0, 3]
    assert merged.pred_instances.scores.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert merged.pred_instances.bboxes.tolist() == [[0., 0., 20., 20.], [50., 50., 70., 70.], [80., 80., 100., 100.]]


@pytest.mark.parametrize('tta_cfg', [dict(nms=dict(type='nms', iou_threshold=.5)), dict(max_per_img=3), 'nms'], ids=str)
def test_settings_of_the_merge_are_checked_at_construction(tta_cfg):
    with pytest.raises(ValueError, match='tta_cfg must be a dict with nms and max_per_img, but got'):
        TDEDetectorTTA(small_detector('mask-rcnn_tde_r50'), tta_cfg=tta_cfg)
