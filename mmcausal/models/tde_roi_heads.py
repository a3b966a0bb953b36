"""RoI heads of MMDetection whose classifiers are de-confounded and infer by TDE."""
import copy
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from mmcausal.hosts import require_host
from mmcausal.models.detection_linear import DetectionDeconfoundLinear
from mmcausal.registry import MODELS

require_host('mmdet')

from mmdet.models.losses import SeesawLoss  # noqa: E402
from mmdet.models.roi_heads import CascadeRoIHead, HybridTaskCascadeRoIHead, StandardRoIHead  # noqa: E402
from mmdet.models.task_modules.samplers import SamplingResult  # noqa: E402

BBoxHeads = Union[dict, List[dict]]


def foreground_mask(sampling_results: Sequence[SamplingResult], num_classes: int) -> Tensor:
    """Which of a batch's proposals are foreground, 0 <= label < num_classes: (N,), boolean.

    Proposals come image after image and, in each, positives first, as in the host's ``SamplingResult.priors``.
    """
    masks = []
    for result in sampling_results:
        labels = result.pos_gt_labels
        masks += [(labels >= 0) & (labels < num_classes), labels.new_zeros(len(result.neg_priors), dtype=torch.bool)]
    return torch.cat(masks)


def observe_foreground(bbox_head: nn.Module, sampling_results: Sequence[SamplingResult]) -> None:
    """Tell the classifier of ``bbox_head`` which of the proposals it has just seen are foreground."""
    bbox_head.fc_cls.observe_foreground(foreground_mask(sampling_results, bbox_head.num_classes))


def class_probs(bbox_head: nn.Module, cls_score: Tensor) -> Tensor:
    """Probabilities (N, C + 1) of classes and background, from the logits (N, C + 1) or Seesaw's (N, C + 2)."""
    if bbox_head.custom_activation:
        return bbox_head.loss_cls.get_activation(cls_score)
    return cls_score.softmax(-1)


def class_scores(bbox_head: nn.Module, probs: Tensor) -> Tensor:
    """The inverse of :func:`class_probs`: scores that the host turns into just these probabilities."""
    log_probs = probs.clamp_min(torch.finfo(probs.dtype).tiny).log()  # of a certain background: finite differences
    if not bbox_head.custom_activation:
        return log_probs
    log_foreground = log_probs[:, :-1].logsumexp(-1, keepdim=True)
    return torch.cat([log_probs[:, :-1], log_foreground, log_probs[:, -1:]], dim=1)


def box_heads(roi_head: Any) -> List[nn.Module]:
    """The box heads of a RoI head, one for each stage."""
    heads = roi_head.bbox_head
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def check_classifier(bbox_head: nn.Module, classifier: nn.Module) -> None:
    """Raise ``ValueError`` unless the head can infer by TDE with the classifier, which notes the kind of background."""
    loss = bbox_head.loss_cls
    name = type(loss).__name__
    if not isinstance(classifier, DetectionDeconfoundLinear):
        raise ValueError(f'TDE needs a DetectionDeconfoundLinear as classifier, and {type(bbox_head).__name__} made a '
                         f'{type(classifier).__name__}')
    if getattr(loss, 'use_sigmoid', False):
        raise ValueError(f'TDE needs a softmax over classes and background, and {name} has use_sigmoid=True; the '
                         'background of independent sigmoids has no logit that could be exempted')
    num_background = classifier.out_features - bbox_head.num_classes
    is_seesaw = isinstance(loss, SeesawLoss)
    if bbox_head.custom_activation != is_seesaw:
        raise ValueError(f'TDE takes the softmax of the logits, and {name} brings an activation of its own '
                         '(custom_activation); of these, SeesawLoss is supported')
    if num_background != (2 if is_seesaw else 1):
        raise ValueError(f'TDE works with losses on C + 1 logits and with SeesawLoss, and {name} wants '
                         f'{classifier.out_features} logits for {bbox_head.num_classes} classes')
    classifier.num_background = num_background


class TDERoIHeadMixin:
    """De-confounded classifiers in a RoI head of MMDetection.

    Args:
        bbox_head: Config of the box head, or of one for each stage. Its ``cls_predictor_cfg`` is replaced.
        classifier: Arguments of :class:`DetectionDeconfoundLinear`: ``alpha``, ``num_heads``, ``tau``, ``gamma``,
            ``normalizer``, ``exempt_background``.
        **kwargs: Arguments of the host's RoI head.

    Raises:
        ValueError: A loss that is no softmax over the classes and one background, or arguments out of range.
    """

    def __init__(self, *args: Any, bbox_head: BBoxHeads, classifier: Optional[dict] = None, **kwargs: Any) -> None:
        bbox_head = copy.deepcopy(bbox_head)
        for cfg in bbox_head if isinstance(bbox_head, list) else [bbox_head]:
            cfg['cls_predictor_cfg'] = dict(classifier or {}, type='mmcausal.DetectionDeconfoundLinear')
        super().__init__(*args, bbox_head=bbox_head, **kwargs)  # type: ignore[call-arg]
        for head in box_heads(self):
            check_classifier(head, head.fc_cls)

    def _load_from_state_dict(self, state_dict: Dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Same as PyTorch's, except that a checkpoint with other stages, or with TDE of other classes, is an error."""
        suffix = 'fc_cls.weight'
        saved = [k for k in state_dict if k.startswith(f'{prefix}bbox_head.') and k.endswith(suffix)]
        own = [f'{prefix}{k}' for k, _ in self.named_parameters()  # type: ignore[attr-defined]
               if k.startswith('bbox_head.') and k.endswith(suffix)]
        if saved and set(saved) != set(own):
            raise ValueError(f'the checkpoint has {len(saved)} stages of classification, {sorted(saved)}, and this '
                             f'{type(self).__name__} has {len(own)}: {sorted(own)}')
        for name, module in self.named_modules():  # type: ignore[attr-defined]
            found = state_dict.get(f'{prefix}{name}.weight')
            # A checkpoint without a direction may be one to fine-tune from, whose classifier is left out.
            if (isinstance(module, DetectionDeconfoundLinear) and found is not None
                    and f'{prefix}{name}.mean_feature' in state_dict and found.shape != module.weight.shape):
                raise ValueError(f'the checkpoint has a classifier {name} of {found.shape[0]} outputs on '
                                 f'{found.shape[1]} channels, and this {type(self).__name__} one of '
                                 f'{module.out_features} on {module.in_features}; to fine-tune on other '
                                 'classes, remove its fc_cls entries')
        super()._load_from_state_dict(state_dict, prefix, *args)  # type: ignore[misc]


class CascadeTDEMixin(TDERoIHeadMixin):
    """Several stages: one direction for each, and an average of probabilities.

    The host averages logits. Those of TDE are logarithms of probabilities, and the average of the probabilities
    themselves is again a distribution, in which the background keeps its mean probability.
    """
    _stage_probs: Optional[List[Tensor]] = None

    def bbox_loss(self, stage: int, x: Tuple[Tensor], sampling_results: List[SamplingResult], **kwargs: Any) -> dict:
        results = super().bbox_loss(stage, x, sampling_results, **kwargs)  # type: ignore[misc]
        observe_foreground(box_heads(self)[stage], sampling_results)
        return results

    def _bbox_forward(self, stage: int, x: Tuple[Tensor], rois: Tensor, **kwargs: Any) -> dict:
        results = super()._bbox_forward(stage, x, rois, **kwargs)  # type: ignore[misc]
        if self._stage_probs is not None:
            self._stage_probs.append(class_probs(box_heads(self)[stage], results['cls_score']))
        return results

    def _refine_roi(self, x: Tuple[Tensor], rois: Tensor, batch_img_metas: List[dict],
                    num_proposals_per_img: Sequence[int], **kwargs: Any) -> tuple:
        self._stage_probs = []
        try:
            rois, _, bbox_preds = super()._refine_roi(  # type: ignore[misc]
                x, rois, batch_img_metas, num_proposals_per_img, **kwargs)
            probs = torch.stack(self._stage_probs).mean(0)
        finally:
            self._stage_probs = None
        scores = class_scores(box_heads(self)[-1], probs)
        return rois, list(scores.split(num_proposals_per_img)), bbox_preds


@MODELS.register_module()
class TDECascadeRoIHead(CascadeTDEMixin, CascadeRoIHead):
    """Same as MMDetection's ``CascadeRoIHead``, with a :class:`TDERoIHeadMixin` classifier a stage."""


@MODELS.register_module()
class TDEHybridTaskCascadeRoIHead(CascadeTDEMixin, HybridTaskCascadeRoIHead):
    """Same as MMDetection's ``HybridTaskCascadeRoIHead``, with a :class:`TDERoIHeadMixin` classifier a stage."""


@MODELS.register_module()
class TDEStandardRoIHead(TDERoIHeadMixin, StandardRoIHead):
    """Same as MMDetection's ``StandardRoIHead`` of Faster and Mask R-CNN, with :class:`TDERoIHeadMixin`."""

    def bbox_loss(self, x: Tuple[Tensor], sampling_results: List[SamplingResult]) -> dict:
        results = super().bbox_loss(x, sampling_results)
        observe_foreground(self.bbox_head, sampling_results)
        return results
