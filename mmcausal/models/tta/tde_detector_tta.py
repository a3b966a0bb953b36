"""TDE around a trained detector, at test time only."""
from typing import List, Optional, Union

from torch import nn

from mmcausal.hosts import require_host
from mmcausal.models.enable_tde import TestBatch, is_augmented, share_parameters
from mmcausal.models.layers import Alpha, DetectionDeconfoundLinear, check_alpha
from mmcausal.registry import MODELS

require_host('mmdet')

from mmdet.models import DetTTAModel  # noqa: E402
from mmdet.models.layers import NormedLinear  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmengine.config import ConfigDict  # noqa: E402

from mmcausal.models.roi_heads.label_masks import LabelMaskMixin  # noqa: E402
from mmcausal.models.roi_heads.support import box_heads, check_box_head  # noqa: E402
from mmcausal.models.roi_heads.tde_roi_heads import TDE_ROI_HEADS, TDERoIHeadMixin, set_classifier  # noqa: E402


def enable_detector_tde(detector: nn.Module, alpha: Alpha) -> List[DetectionDeconfoundLinear]:
    """Make every stage of a two-stage detector infer by TDE with ``alpha``, in place, and return the classifiers.

    A classifier of this package only gets the alpha. In a stock RoI head, linear and cosine (``NormedLinear``)
    classifiers are replaced by layers that share their parameters, so checkpoints fit as before. They have one head
    direction for the whole feature (K = 1), and from then on the RoI head averages probabilities.

    Raises:
        ValueError: No RoI head, or one without TDE, or a classifier or loss without TDE.
    """
    alpha = check_alpha(alpha)
    roi_head = getattr(detector, 'roi_head', None)
    if not isinstance(roi_head, TDERoIHeadMixin):
        if type(roi_head) not in TDE_ROI_HEADS:
            raise ValueError(_without_tde(detector))
        bbox_heads = box_heads(roi_head)
        # Convert all of them, or none.
        for bbox_head in bbox_heads:
            check_box_head(bbox_head)
        layers = [as_detection_linear(bbox_head.fc_cls) for bbox_head in bbox_heads]
        roi_head.__class__ = TDE_ROI_HEADS[type(roi_head)]
        for bbox_head, layer in zip(bbox_heads, layers):
            set_classifier(bbox_head, layer)
    classifiers = [bbox_head.fc_cls for bbox_head in box_heads(roi_head)]
    for classifier in classifiers:
        classifier.alpha = alpha
    return classifiers


def _without_tde(detector: nn.Module) -> str:
    """Return the sentence for a detector whose RoI head, if it has one, has no TDE."""
    roi_head, name = getattr(detector, 'roi_head', None), type(detector).__name__
    if roi_head is None:
        return (f'TDE needs a softmax over classes and background in the roi_head of a two-stage detector, but {name} '
                'has no roi_head; use a detector such as Faster R-CNN')
    stock = ', '.join(sorted(head.__name__ for head in TDE_ROI_HEADS if not issubclass(head, LabelMaskMixin)))
    return (f'TDE has no RoI head for the {type(roi_head).__name__} of this {name}; use one of {stock}, or derive '
            'yours from mmcausal.StandardTDEMixin or CascadeTDEMixin and your RoI head')


def detector_alpha(detector: nn.Module) -> Alpha:
    """Return the alpha with which a detector infers: 0 unless its classifiers are of this package."""
    return next((layer.alpha for layer in detector.modules() if isinstance(layer, DetectionDeconfoundLinear)), 0.)


def as_detection_linear(layer: nn.Module) -> DetectionDeconfoundLinear:
    """Convert a stock classifier, linear or cosine, to a :class:`DetectionDeconfoundLinear` with the same outputs."""
    if type(layer) is nn.Linear:
        return share_parameters(layer, DetectionDeconfoundLinear, normalizer='linear')
    if isinstance(layer, NormedLinear) and layer.power == 1:
        return share_parameters(layer, DetectionDeconfoundLinear, normalizer='cosine', tau=_temperature(layer))
    raise ValueError(f'TDE needs a linear classifier or a NormedLinear of power 1, but the box head has {layer}')


def _temperature(layer: NormedLinear) -> float:
    """Return the factor of the cosines, which OpenMMLab's release and its maintained fork spell differently."""
    return layer.temperature if hasattr(layer, 'temperature') else layer.tempearture


@MODELS.register_module()
class TDEDetectorTTA(DetTTAModel):
    """Test a trained two-stage detector of MMDetection with TDE, whatever its config says.

    Use it as the ``tta_model`` of a config, with ``--tta`` of the host's ``tools/test.py``, or as the ``model`` itself.
    It accepts ordinary pipelines, with masks, and test-time augmentation of boxes, which the host merges. ``alpha = 0``
    is the detector as it is, except that a cascade averages the probabilities of its stages instead of their logits.

    Args:
        module: The detector, or its config. If it is in such a wrapper already, this one takes its place.
        alpha: Trade-off of Eq. 8, or ``'auto'``, see :class:`DeconfoundLinear`. By default that of the detector itself,
            0 for a stock detector.
        tta_cfg: How the host merges augmented boxes, see ``DetTTAModel``; by default by NMS at 0.5 into the best 300,
            as LVIS counts.
        data_preprocessor: As in MMEngine's ``BaseTTAModel``.

    Raises:
        ValueError: At construction, for an alpha out of range or a detector without TDE. For augmented images, a
            detector with masks, which the host does not merge.
        RuntimeError: At the first batch, if the checkpoint has no head direction.
    """
    module: nn.Module

    def __init__(self,
                 module: Union[dict, nn.Module],
                 alpha: Optional[Alpha] = None,
                 tta_cfg: Optional[dict] = None,
                 data_preprocessor: Optional[Union[dict, nn.Module]] = None) -> None:
        if tta_cfg is None:
            tta_cfg = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=300)
        if not isinstance(tta_cfg, dict) or not {'nms', 'max_per_img'} <= tta_cfg.keys():
            raise ValueError(f'tta_cfg must be a dict with nms and max_per_img, but got {tta_cfg!r}')
        super().__init__(tta_cfg=ConfigDict(tta_cfg), module=module, data_preprocessor=data_preprocessor)
        if isinstance(self.module, TDEDetectorTTA):  # --tta with a config that has this wrapper as its model
            self.module = self.module.module
        enable_detector_tde(self.module, detector_alpha(self.module) if alpha is None else alpha)

    def test_step(self, data: TestBatch) -> List[DetDataSample]:
        """Return the predictions for a batch, or for a list of differently augmented batches."""
        if not is_augmented(data):
            return self.module.test_step(data)
        if self.module.roi_head.with_mask:
            raise ValueError('test-time augmentation merges boxes alone: set model.roi_head.mask_head=None and the '
                             "metric to 'bbox', or use a tta_pipeline without augmentation")
        return super().test_step(data)
