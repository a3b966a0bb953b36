"""Detectors with TDE in exporters: as far as those of the host, and with the scores of PyTorch."""
import copy
import warnings
from unittest import mock

import pytest
import torch
from helpers.detectors import TDE_CONFIGS, class_probs, heads_of, inputs, predict, small_detector, with_direction
from mmdet.models.roi_heads import CascadeRoIHead, HybridTaskCascadeRoIHead
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.config import Config
from torch import nn


def trained(name):
    detector = small_detector(name)
    with torch.no_grad():
        for head in heads_of(detector):
            head.fc_cls.weight.mul_(20)
    detector.test_cfg.rcnn.score_thr = 0.
    return with_direction(detector, 1.5)


class Exported(nn.Module):
    """A detector as exporters call it: images alone."""

    def __init__(self, detector, samples, mode):
        super().__init__()
        self.detector, self.metainfo, self.mode = detector, [sample.metainfo for sample in samples], mode

    def forward(self, images):
        return self.detector(images, data_samples=[DetDataSample(metainfo=info) for info in self.metainfo],
                             mode=self.mode)


def tensors(results):
    """Yield the tensors of nested results."""
    if isinstance(results, torch.Tensor):
        yield results
    else:
        for result in results:
            yield from tensors(result)


@pytest.mark.parametrize('name', TDE_CONFIGS)
@torch.no_grad()
def test_trace(name):
    detector = trained(name)
    data = inputs(detector, training=False)
    exported = Exported(detector, data['data_samples'], 'tensor')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(exported, data['inputs'], check_trace=False)
    other = data['inputs'] + 0.3 * torch.randn_like(data['inputs'])
    results, expected = list(tensors(traced(other))), list(tensors(exported(other)))
    assert len(results) == len(expected)
    for result, value in zip(results, expected):
        torch.testing.assert_close(result, value, atol=1e-5, rtol=1e-5)


def average_of_scores(roi_head, x, batch_img_metas, rpn_results_list, rcnn_test_cfg, rescale=False, **kwargs):
    """Find boxes in a loop of an exporter: without the host's, and by the average of the scores."""
    rois = bbox2roi([result.bboxes for result in rpn_results_list])
    scores = []
    for stage, head in enumerate(heads_of(mock.Mock(roi_head=roi_head))):
        results = roi_head._bbox_forward(stage, x, rois)
        scores.append(results['cls_score'])
        refined = head.bbox_coder.decode(rois[:, 1:], results['bbox_pred'], batch_img_metas[0]['img_shape'])
        rois = torch.cat([rois[:, :1], refined], dim=1)
    roi_head.averages = sum(scores) / len(scores)
    return rpn_results_list


@pytest.mark.parametrize('name', [name for name in TDE_CONFIGS if 'cascade' in name])
@torch.no_grad()
def test_a_loop_that_averages_scores_gets_the_average_of_probabilities(name):
    detector, stages = trained(name), []
    detector.roi_head.mask_head = None
    for head in heads_of(detector):
        head.register_forward_hook(lambda head, args, output: stages.append(class_probs(head, output[0])))
    with mock.patch.object(CascadeRoIHead, 'predict_bbox', average_of_scores):
        predict(detector)
    probs = class_probs(heads_of(detector)[-1], detector.roi_head.averages)
    torch.testing.assert_close(probs, torch.stack(stages).mean(0), atol=1e-6, rtol=1e-5)
    stages.clear()
    predict(detector)  # and the next prediction is the host's
    assert len(stages) == 3 and detector.roi_head._stage_scores is None


def exported_by_mmdeploy(detector, images, data_samples, path):
    """Export a detector as MMDeploy's configs for ONNX Runtime do, but without thresholds; return its function."""
    import onnxruntime
    from mmdeploy.apis.onnx import export
    from mmdeploy.backend.onnxruntime.init_plugins import get_ops_path
    from mmdeploy.codebase import import_codebase
    from mmdeploy.utils import Codebase
    import_codebase(Codebase.MMDET)
    post_processing = dict(score_threshold=0., confidence_threshold=0., iou_threshold=0.5, background_label_id=-1,
                           max_output_boxes_per_class=200, pre_top_k=5000, keep_top_k=300,
                           export_postprocess_mask=False)
    deploy_cfg = Config(dict(codebase_config=dict(
        type='mmdet', task='ObjectDetection', model_type='end2end', post_processing=post_processing)))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        export(detector, images, path, backend='onnxruntime', optimize=True,
               input_metas=dict(data_samples=data_samples, mode='predict'), context_info=dict(deploy_cfg=deploy_cfg),
               input_names=['input'], output_names=['dets', 'labels', 'masks'])
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(get_ops_path())
    session = onnxruntime.InferenceSession(f'{path}.onnx', options, providers=['CPUExecutionProvider'])
    return lambda x: [torch.from_numpy(output) for output in session.run(None, dict(input=x.numpy()))]


def masks_of(detector, images, boxes, labels):
    """Return the masks (N, 28, 28) of boxes (N, 4): of the mean logits of all stages, in HTC the last, the label's."""
    x, rois = detector.extract_feat(images), bbox2roi([boxes])
    roi_head = detector.roi_head
    if isinstance(roi_head, HybridTaskCascadeRoIHead):
        logits = roi_head._mask_forward(-1, x, rois, training=False)['mask_preds']
    else:
        stages = [(stage, ) for stage in range(3)] if len(heads_of(detector)) == 3 else [()]
        logits = [roi_head._mask_forward(*stage, x, rois)['mask_preds'] for stage in stages]
    return (sum(logits) / len(logits)).sigmoid()[torch.arange(len(labels)), labels]


@pytest.mark.parametrize('name', TDE_CONFIGS)
@torch.no_grad()
def test_mmdeploy(name, tmp_path):
    pytest.importorskip('mmdeploy', reason='MMDeploy, which tools/setup_env.sh installs on the classic stack')
    detector = trained(name)
    data = inputs(detector, training=False)
    images, samples = data['inputs'][:1], [DetDataSample(metainfo=data['data_samples'][0].metainfo)]
    other = images + 0.3 * torch.randn_like(images)
    original = copy.deepcopy(detector)  # MMDeploy changes methods of the one that it exports
    instances = original(other, copy.deepcopy(samples), mode='predict')[0].pred_instances
    boxes, labels, masks = exported_by_mmdeploy(detector, images, samples, str(tmp_path / 'end2end'))(other)
    number = len(instances)
    assert 100 < number <= boxes.shape[1] == masks.shape[1]
    torch.testing.assert_close(boxes[0, :number, 4], instances.scores, atol=1e-5, rtol=1e-5)
    # By as much, MMDeploy moves boxes of the host's own Mask R-CNN, which has a box for each class
    pixels = 0.5 if name.startswith('mask-rcnn') else 1e-3
    torch.testing.assert_close(boxes[0, :number, :4], instances.bboxes, atol=pixels, rtol=0)
    assert torch.equal(labels[0, :number], instances.labels)
    expected = masks_of(original, other, boxes[0, :number, :4], labels[0, :number])
    torch.testing.assert_close(masks[0, :number], expected, atol=1e-3, rtol=0)
