"""Boxes by total effect beside those by TDE in the predictions of a detector, without another pass of its network."""
from typing import List, Sequence

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead, TridentRoIHead
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmcausal.models.roi_heads.support import box_heads
from mmcausal.models.roi_heads.tde_roi_heads import CascadeTDEMixin, TDERoIHeadMixin, class_probs, class_scores
from mmcausal.models.total_effect import by_total_effect


def check_alpha_free_boxes(roi_head: BaseRoIHead) -> None:
    """Raise ``ValueError`` if the boxes depend on alpha or on more than the box heads: they cannot be stored."""
    if not isinstance(roi_head, TDERoIHeadMixin):
        raise ValueError(f'needs a RoI head with TDE, but got {type(roi_head).__name__}; enable_detector_tde makes one')
    finder = next(base for base in type(roi_head).__mro__
                  if 'predict_bbox' in vars(base) and base is not CascadeTDEMixin)  # which calls the host's
    if finder not in (StandardRoIHead, CascadeRoIHead) or isinstance(roi_head, TridentRoIHead):
        raise ValueError(f'{type(roi_head).__name__} finds its boxes after the box head, so its proposals cannot be '
                         'stored; test each alpha with tools/test.py')
    heads = box_heads(roi_head)
    if len(heads) > 1 and not all(head.reg_class_agnostic for head in heads):
        raise ValueError('a cascade with class-specific boxes refines the box of the first class by TDE, so its '
                         'proposals depend on alpha and cannot be stored')


def has_alpha_free_boxes(roi_head: BaseRoIHead) -> bool:
    """Return whether :func:`check_alpha_free_boxes` passes."""
    try:
        check_alpha_free_boxes(roi_head)
    except ValueError:
        return False
    return True


class DetectionTotalEffectRecorder:
    """Add to each prediction by TDE the boxes by total effect, as ``total_effect_instances``.

    Whenever the detector predicts by TDE, its classifiers run once more, with alpha = 0, on the features that they
    have, and a second NMS chooses among the same boxes. Masks are not predicted again. With alpha = 0 nothing runs
    twice and nothing is added, nor where the boxes themselves depend on alpha.

    Args:
        detector: Detector with a TDE RoI head that returns data samples of MMDetection.
    """

    def __init__(self, detector: TwoStageDetector) -> None:
        self.roi_head = detector.roi_head
        self.heads = box_heads(self.roi_head)
        self._features: List[Tensor] = []
        self._instances: List[InstanceData] = []
        self._handles = []
        if has_alpha_free_boxes(self.roi_head):
            self._predict_by_feat = self.heads[-1].predict_by_feat
            self.heads[-1].predict_by_feat = self._predict_twice
            self._handles = [head.fc_cls.register_forward_pre_hook(self._record) for head in self.heads]
            self._handles.append(detector.register_forward_hook(self._attach))

    def _record(self, classifier: nn.Module, args: Sequence[Tensor]) -> None:
        if classifier.alpha != 0 and not classifier.training:
            self._features.append(args[0])

    def _predict_twice(self, rois: Sequence[Tensor], cls_scores: Sequence[Tensor], bbox_preds: Sequence,
                       batch_img_metas: List[dict], **kwargs: object) -> List[InstanceData]:
        features, self._features = self._features, []
        if len(features) == len(self.heads):
            with by_total_effect([head.fc_cls for head in self.heads]):
                probs = torch.stack([class_probs(head, head.fc_cls.forward(x))
                                     for head, x in zip(self.heads, features)]).mean(0)
            scores = class_scores(self.heads[-1], probs).split([len(score) for score in cls_scores])
            # The host rescales the boxes later if it predicts masks for them.
            self._instances = self._predict_by_feat(rois, scores, bbox_preds, batch_img_metas,
                                                    **dict(kwargs, rescale=True))
        return self._predict_by_feat(rois, cls_scores, bbox_preds, batch_img_metas, **kwargs)

    def _attach(self, detector: nn.Module, args: tuple, predictions: list) -> None:
        instances, self._instances, self._features = self._instances, [], []
        is_tde = not detector.training and all(head.fc_cls.alpha != 0 for head in self.heads)
        if is_tde and isinstance(predictions, list):
            # Without a proposal, no head ran. Panoptic predictions have no boxes.
            instances = instances or [sample.get('pred_instances') for sample in predictions]
            for sample, boxes in zip(predictions, instances):
                if boxes is not None:
                    sample.total_effect_instances = boxes

    def remove(self) -> None:
        """Leave later predictions alone."""
        for handle in self._handles:
            handle.remove()
        if self._handles:
            del self.heads[-1].predict_by_feat  # the class's own again
