"""RoI heads for MMDetection with de-confounded classifiers and TDE inference."""
from typing import ContextManager, Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmdet.models import roi_heads as host
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.task_modules.samplers import SamplingResult
from torch import Tensor, nn

from mmcausal.checkpoints import check_checkpoint, differences, shapes_of
from mmcausal.models.layers import DetectionDeconfoundLinear
from mmcausal.models.roi_heads.label_masks import LABEL_MASK_ROI_HEADS, LabelMaskMixin
from mmcausal.models.roi_heads.support import box_heads, check_box_head, check_settings, required_arguments
from mmcausal.registry import MODELS
from mmcausal.temporary import temporarily

BBoxHeads = Union[dict, List[dict]]
CLASSIFIER_WEIGHT = 'fc_cls.weight'


def foreground_mask(sampling_results: Sequence[SamplingResult], num_classes: int) -> Tensor:
    """Return which proposals of a batch are foreground, 0 <= label < num_classes: boolean (N,).

    Proposals are ordered by image and, within each, positives first, as in the host's ``SamplingResult.priors``.
    """
    masks = []
    for result in sampling_results:
        labels = result.pos_gt_labels
        masks += [(labels >= 0) & (labels < num_classes), labels.new_zeros(len(result.neg_priors), dtype=torch.bool)]
    return torch.cat(masks)


def observing_foreground(bbox_head: BBoxHead, sampling_results: Sequence[SamplingResult]) -> ContextManager[None]:
    """Return a context in which the classifier of ``bbox_head`` observes the foreground of these proposals."""
    return bbox_head.fc_cls.observing(foreground_mask(sampling_results, bbox_head.num_classes))


def class_probs(bbox_head: BBoxHead, cls_score: Tensor) -> Tensor:
    """Return the probabilities (N, C + 1) of classes and background, for logits (N, C + 1) or Seesaw's (N, C + 2)."""
    if bbox_head.custom_activation:
        return bbox_head.loss_cls.get_activation(cls_score)
    return cls_score.softmax(-1)


def class_scores(bbox_head: BBoxHead, probs: Tensor) -> Tensor:
    """Invert :func:`class_probs`: return scores that the host turns into exactly these probabilities."""
    log_probs = probs.clamp_min(torch.finfo(probs.dtype).tiny).log()  # finite for a certain background too
    if not bbox_head.custom_activation:
        return log_probs
    log_foreground = log_probs[:, :-1].logsumexp(-1, keepdim=True)
    return torch.cat([log_probs[:, :-1], log_foreground, log_probs[:, -1:]], dim=1)


def set_classifier(bbox_head: BBoxHead, classifier: DetectionDeconfoundLinear) -> None:
    """Give a box head this classifier, and tell it how many of its logits are the background's."""
    classifier.num_background = classifier.out_features - bbox_head.num_classes
    bbox_head.fc_cls = classifier


class TDERoIHeadMixin:
    """De-confounded classifiers in a RoI head of MMDetection.

    Args:
        bbox_head: Config of the box head, or a list with one per stage. Its linear classifier ``fc_cls`` is replaced.
        classifier: Arguments of :class:`DetectionDeconfoundLinear`: ``alpha``, ``num_heads``, ``tau``, ``gamma``,
            ``normalizer``, ``exempt_background``.
        **kwargs: Arguments of the host's RoI head.

    Raises:
        ValueError: A loss that is not a softmax over the classes and one background, settings of another RoI head of
            the host or too few of its own, or arguments out of range.
    """

    def __init__(self, *args: dict, bbox_head: BBoxHeads, classifier: Optional[dict] = None,
                 **kwargs: Union[dict, list, None]) -> None:
        positional = dict(zip(required_arguments(type(self)), args))
        check_settings(type(self), dict(kwargs, bbox_head=bbox_head, **positional))
        if not isinstance(classifier, (dict, type(None))):
            raise ValueError(f'classifier must be a dict of the arguments of the layer, but got {classifier!r}')
        super().__init__(*args, bbox_head=bbox_head, **kwargs)  # type: ignore[call-arg]
        for head in box_heads(self):
            check_box_head(head)
            stock = head.fc_cls
            set_classifier(head, DetectionDeconfoundLinear(stock.in_features, stock.out_features, **(classifier or {})))

    def _load_from_state_dict(self, state_dict: Dict[str, Tensor], prefix: str, *args: object) -> None:
        """Same as PyTorch's, except that a checkpoint with other stages is an error.

        One with other classes is not: you may fine-tune from it. Each classifier then leaves out its part, see
        ``CheckedLinear``.
        """
        own = {f'{prefix}{name}': shape for name, shape in
               shapes_of(self.state_dict(), 'bbox_head.', CLASSIFIER_WEIGHT).items()}  # type: ignore[attr-defined]
        saved = shapes_of(state_dict, f'{prefix}bbox_head.', CLASSIFIER_WEIGHT)
        if saved and saved.keys() != own.keys():
            check_checkpoint(type(self).__name__, differences(own, saved))
        super()._load_from_state_dict(state_dict, prefix, *args)  # type: ignore[misc]


class CascadeTDEMixin(TDERoIHeadMixin):
    """Several stages: one direction per stage, and an average of probabilities.

    The host averages logits. With TDE, logits are log-probabilities, and the average of the probabilities themselves is
    again a distribution, in which the background keeps its mean probability.
    """
    _stage_probs: Optional[List[Tensor]] = None
    _stage_scores: Optional[List[Tensor]] = None

    def bbox_loss(self, stage: int, x: Tuple[Tensor], sampling_results: List[SamplingResult],
                  **kwargs: Optional[Tensor]) -> dict:
        with observing_foreground(box_heads(self)[stage], sampling_results):
            return super().bbox_loss(stage, x, sampling_results, **kwargs)  # type: ignore[misc]

    def _bbox_forward(self, stage: int, x: Tuple[Tensor], rois: Tensor, **kwargs: Optional[Tensor]) -> dict:
        results = super()._bbox_forward(stage, x, rois, **kwargs)  # type: ignore[misc]
        if self._stage_probs is not None:
            self._stage_probs.append(class_probs(box_heads(self)[stage], results['cls_score']))
        elif self._stage_scores is not None:
            self._stage_scores.append(results['cls_score'])
            if len(self._stage_scores) == len(box_heads(self)):
                results = dict(results, cls_score=self._last_scores(self._stage_scores))
        return results

    def _mean_scores(self, stage_probs: List[Tensor]) -> Tensor:
        """Return the scores of the mean of the stages' probabilities."""
        return class_scores(box_heads(self)[-1], torch.stack(stage_probs).mean(0))

    def _last_scores(self, stage_scores: List[Tensor]) -> Tensor:
        """Return last-stage scores with which the average of all scores yields the mean of the probabilities."""
        mean = self._mean_scores(list(map(class_probs, box_heads(self), stage_scores)))
        return len(stage_scores) * mean - sum(stage_scores[:-1])

    def predict_bbox(self, *args: object, **kwargs: object) -> list:
        # MMDeploy puts a method of its own in the place of the host's, which averages the scores without _refine_roi
        with temporarily(self, _stage_scores=[]):
            return super().predict_bbox(*args, **kwargs)  # type: ignore[misc]

    def _refine_roi(self, x: Tuple[Tensor], rois: Tensor, batch_img_metas: List[dict],
                    num_proposals_per_img: Sequence[int], **kwargs: Optional[Tensor]) -> tuple:
        stage_probs: List[Tensor] = []
        with temporarily(self, _stage_probs=stage_probs):
            rois, _, bbox_preds = super()._refine_roi(  # type: ignore[misc]
                x, rois, batch_img_metas, num_proposals_per_img, **kwargs)
        scores = self._mean_scores(stage_probs)
        return rois, list(scores.split(num_proposals_per_img)), bbox_preds


class StandardTDEMixin(TDERoIHeadMixin):
    """One stage: Faster and Mask R-CNN and the RoI heads that derive from theirs."""

    def bbox_loss(self, x: Tuple[Tensor], sampling_results: List[SamplingResult], *args: object,
                  **kwargs: object) -> dict:
        with observing_foreground(self.bbox_head, sampling_results):  # type: ignore[attr-defined]
            return super().bbox_loss(x, sampling_results, *args, **kwargs)  # type: ignore[misc]


@MODELS.register_module()
class TDECascadeRoIHead(CascadeTDEMixin, LabelMaskMixin, host.CascadeRoIHead):
    """Same as MMDetection's ``CascadeRoIHead``, with a :class:`TDERoIHeadMixin` classifier per stage.

    Example:
        In a config of MMDetection::

            model = dict(roi_head=dict(type='mmcausal.TDECascadeRoIHead'))
            custom_hooks = [dict(type='mmcausal.HeadDirectionHook', momentum=0.9998)]

        Alpha stays 0, the total effect, until ``tools/analysis/sweep_detector_alpha.py`` has chosen one.
    """


@MODELS.register_module()
class TDEHybridTaskCascadeRoIHead(CascadeTDEMixin, LabelMaskMixin, host.HybridTaskCascadeRoIHead):
    """Same as MMDetection's ``HybridTaskCascadeRoIHead``, with a :class:`TDERoIHeadMixin` classifier per stage."""


@MODELS.register_module()
class TDESCNetRoIHead(CascadeTDEMixin, LabelMaskMixin, host.SCNetRoIHead):
    """Same as MMDetection's ``SCNetRoIHead``, with a :class:`TDERoIHeadMixin` classifier per stage."""


@MODELS.register_module()
class TDEStandardRoIHead(StandardTDEMixin, LabelMaskMixin, host.StandardRoIHead):
    """Same as MMDetection's ``StandardRoIHead`` of Faster and Mask R-CNN, with :class:`TDERoIHeadMixin`."""


@MODELS.register_module()
class TDEDoubleHeadRoIHead(StandardTDEMixin, LabelMaskMixin, host.DoubleHeadRoIHead):
    """Same as MMDetection's ``DoubleHeadRoIHead``, with :class:`TDERoIHeadMixin`."""


@MODELS.register_module()
class TDEDynamicRoIHead(StandardTDEMixin, LabelMaskMixin, host.DynamicRoIHead):
    """Same as MMDetection's ``DynamicRoIHead``, with :class:`TDERoIHeadMixin`."""


@MODELS.register_module()
class TDEGridRoIHead(StandardTDEMixin, host.GridRoIHead):
    """Same as MMDetection's ``GridRoIHead``, with :class:`TDERoIHeadMixin`."""


@MODELS.register_module()
class TDEMaskScoringRoIHead(StandardTDEMixin, host.MaskScoringRoIHead):
    """Same as MMDetection's ``MaskScoringRoIHead``, with :class:`TDERoIHeadMixin`."""


@MODELS.register_module()
class TDEPISARoIHead(StandardTDEMixin, LabelMaskMixin, host.PISARoIHead):
    """Same as MMDetection's ``PISARoIHead``, with :class:`TDERoIHeadMixin`."""


@MODELS.register_module()
class TDEPointRendRoIHead(StandardTDEMixin, host.PointRendRoIHead):
    """Same as MMDetection's ``PointRendRoIHead``, with :class:`TDERoIHeadMixin`."""


@MODELS.register_module()
class TDETridentRoIHead(StandardTDEMixin, host.TridentRoIHead):
    """Same as MMDetection's ``TridentRoIHead``, with :class:`TDERoIHeadMixin`."""


# RoI head of the host: ours, which derives from mixins and from it
TDE_ROI_HEADS = {head.__bases__[-1]: head for head in (
    TDECascadeRoIHead, TDEHybridTaskCascadeRoIHead, TDESCNetRoIHead, TDEStandardRoIHead, TDEDoubleHeadRoIHead,
    TDEDynamicRoIHead, TDEGridRoIHead, TDEMaskScoringRoIHead, TDEPISARoIHead, TDEPointRendRoIHead, TDETridentRoIHead)}
# A trained detector of this package without TDE gets the same RoI head.
TDE_ROI_HEADS.update({ours: TDE_ROI_HEADS[stock] for stock, ours in LABEL_MASK_ROI_HEADS.items()})


def check_layer_of_detector(detector: nn.Module, classifier: str) -> None:
    """Raise ``ValueError`` unless the layer of this name is the classifier of a RoI head with TDE."""
    layer = dict(detector.named_modules()).get(classifier)
    roi_heads = [module for module in detector.modules() if isinstance(module, TDERoIHeadMixin)]
    if not any(layer is head.fc_cls for roi_head in roi_heads for head in box_heads(roi_head)):
        raise ValueError(f'TDE of the detector {type(detector).__name__} needs a RoI head that tells its classifier '
                         f'the foreground, but {classifier!r} is not in one; use one such as '
                         'mmcausal.TDEStandardRoIHead, or for a trained detector enable_detector_tde or '
                         'mmcausal.TDEDetectorTTA')
