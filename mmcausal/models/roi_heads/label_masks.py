"""Masks of the wanted class alone: of C logits per pixel that a mask head has, the host uses one."""
import inspect
from contextlib import contextmanager
from functools import partial
from typing import Iterator, List, Optional

import torch
from mmcv import cnn
from mmdet.models import roi_heads as host
from mmdet.models.layers.normed_predictor import NormedConv2d
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead, HTCMaskHead, SCNetMaskHead
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmcausal.models.roi_heads.support import check_settings
from mmcausal.registry import MODELS

# Exact types: a subclass may combine the logits of several classes.
MASK_HEADS = (FCNMaskHead, HTCMaskHead, SCNetMaskHead)
CONVOLUTIONS = (nn.Conv2d, cnn.Conv2d, NormedConv2d)


def label_logits(x: Tensor, weight: Tensor, bias: Optional[Tensor], labels: Tensor) -> Tensor:
    """Return one output channel of a 1 x 1 convolution for each input, that of its label: (N, 1, H, W).

    Args:
        x: Feature maps (N, D, H, W).
        weight: Weight (C, D, 1, 1).
        bias: Bias (C), or none.
        labels: Output channel for each input: integers (N).
    """
    rows, pixels = weight[labels].flatten(1).unsqueeze(1), x.flatten(2)
    # One operation, so that autocast gives the sum the type of a convolution's output
    logits = torch.bmm(rows, pixels) if bias is None else torch.baddbmm(bias[labels, None, None], rows, pixels)
    return logits.view(len(x), 1, *x.shape[2:])


def mask_heads(roi_head: BaseRoIHead) -> List[nn.Module]:
    """Return the mask heads of a RoI head: one, one per stage, or none."""
    if not roi_head.with_mask:
        return []
    heads = roi_head.mask_head
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def obstacle(mask_head: nn.Module) -> str:
    """Return what in a mask head may use logits of other classes than the label's, or an empty string."""
    if type(mask_head) not in MASK_HEADS:
        return type(mask_head).__name__
    conv, loss = mask_head.conv_logits, mask_head.loss_mask
    pointwise = (1, 1), (1, 1), (0, 0), 1
    if type(conv) not in CONVOLUTIONS or (conv.kernel_size, conv.stride, conv.padding, conv.groups) != pointwise:
        return f'a {type(mask_head).__name__} with {conv}'
    if type(loss) is not CrossEntropyLoss or not loss.use_mask:
        return f'a {type(mask_head).__name__} with {loss}'
    return ''


@contextmanager
def computing_labels(heads: List[nn.Module], labels: Tensor) -> Iterator[None]:
    """Let mask heads compute the logits of these labels alone, in a context in which they are class-agnostic."""
    heads = list(dict.fromkeys(heads))  # stages may share a head
    for head in heads:
        # nn.Conv2d and NormedConv2d both end here, with the weight that they use.
        head.conv_logits._conv_forward = partial(label_logits, labels=labels)
        head.class_agnostic = True
    try:
        yield
    finally:
        for head in heads:
            del head.conv_logits._conv_forward  # the class's own again
            head.class_agnostic = False


class LabelMaskMixin:
    """Mask heads that compute the logits of one class per RoI: of its label in training, of its detection in inference.

    For RoI heads of MMDetection with one mask head or one per stage. Losses, gradients and masks are the host's up to
    rounding, and so are parameters and checkpoints. Mask heads in which other classes may matter are left to the host,
    see :func:`obstacle`, and so are class-agnostic ones.
    """

    def mask_loss(self, *args: object, **kwargs: object) -> dict:
        method = super().mask_loss  # type: ignore[misc]
        results = inspect.signature(method).bind(*args, **kwargs).arguments['sampling_results']
        with self._computing_labels([result.pos_gt_labels for result in results]):
            return method(*args, **kwargs)

    def predict_mask(self, *args: object, **kwargs: object) -> List[InstanceData]:
        method = super().predict_mask  # type: ignore[misc]
        results = inspect.signature(method).bind(*args, **kwargs).arguments['results_list']
        # Exporters put methods of theirs in place, which take tensors
        if not all(isinstance(result, InstanceData) for result in results):
            return method(*args, **kwargs)
        with self._computing_labels([result.labels for result in results]):
            return method(*args, **kwargs)

    @contextmanager
    def _computing_labels(self, labels: List[Tensor]) -> Iterator[None]:
        heads = mask_heads(self)
        if any(head.class_agnostic or obstacle(head) for head in heads):
            heads = []
        with computing_labels(heads, torch.cat(labels)):
            yield


class CheckedLabelMaskMixin(LabelMaskMixin):
    """Same as :class:`LabelMaskMixin`, except that mask heads which would be left to the host are refused.

    Raises:
        ValueError: A mask head other than ``FCNMaskHead``, ``HTCMaskHead`` and ``SCNetMaskHead`` with a 1 x 1
            convolution and ``CrossEntropyLoss(use_mask=True)``, or settings of another RoI head of the host.
    """

    def __init__(self, **kwargs: object) -> None:
        check_settings(type(self), dict(dict(bbox_head=None), **kwargs), prefix='')
        super().__init__(**kwargs)
        found = [reason for reason in map(obstacle, mask_heads(self)) if reason]
        if found:
            raise ValueError(f'{type(self).__name__} needs FCNMaskHead, HTCMaskHead or SCNetMaskHead with a 1 x 1 '
                             f'convolution and CrossEntropyLoss(use_mask=True), but got {found[0]}; use the RoI head '
                             'of MMDetection')


@MODELS.register_module()
class LabelMaskStandardRoIHead(CheckedLabelMaskMixin, host.StandardRoIHead):
    """Same as MMDetection's ``StandardRoIHead`` of Mask R-CNN, with :class:`LabelMaskMixin`."""


@MODELS.register_module()
class LabelMaskCascadeRoIHead(CheckedLabelMaskMixin, host.CascadeRoIHead):
    """Same as MMDetection's ``CascadeRoIHead``, with :class:`LabelMaskMixin`.

    Example:
        In a config of MMDetection with many classes::

            model = dict(roi_head=dict(type='mmcausal.LabelMaskCascadeRoIHead'))
    """


@MODELS.register_module()
class LabelMaskHybridTaskCascadeRoIHead(CheckedLabelMaskMixin, host.HybridTaskCascadeRoIHead):
    """Same as MMDetection's ``HybridTaskCascadeRoIHead``, with :class:`LabelMaskMixin`."""


# RoI head of the host: ours
LABEL_MASK_ROI_HEADS = {head.__bases__[-1]: head for head in (
    LabelMaskStandardRoIHead, LabelMaskCascadeRoIHead, LabelMaskHybridTaskCascadeRoIHead)}
