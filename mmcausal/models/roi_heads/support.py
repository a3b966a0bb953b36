"""Which detectors, RoI heads, box heads and losses have TDE: a sentence for each that has none."""
import inspect
from typing import Iterator, List, Set, Tuple, Type

from mmdet.models import roi_heads as host
from mmdet.models.losses import SeesawLoss
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import nn

from mmcausal.checks import check_config
from mmcausal.models.tde_support import sigmoid_loss

HOST_ROI_HEADS = [component for component in vars(host).values()
                  if isinstance(component, type) and issubclass(component, BaseRoIHead)]
# Their box heads are not one linear classifier with a softmax on the features of a proposal
WITHOUT_TDE = ('MultiInstanceRoIHead', 'SparseRoIHead')
# Entries of a config that belong to one RoI head of the host, beside the arguments of its constructor
MARKS = {
    'dynamic_rcnn': 'DynamicRoIHead',
    'isr': 'PISARoIHead',
    'carl': 'PISARoIHead',
    'ScoreHLRSampler': 'PISARoIHead',
    'DoubleConvFCBBoxHead': 'DoubleHeadRoIHead',
    'MultiInstanceBBoxHead': 'MultiInstanceRoIHead',
    'DIIHead': 'SparseRoIHead',
}


def box_heads(roi_head: BaseRoIHead) -> List[BBoxHead]:
    """Return the box heads of a RoI head, one per stage."""
    heads = roi_head.bbox_head
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def required_arguments(roi_head: Type[BaseRoIHead]) -> List[str]:
    """Return the names of the arguments without a default of the host's RoI head from which this one derives."""
    stock = next(base for base in roi_head.__mro__ if base in HOST_ROI_HEADS)
    return [name for name, parameter in inspect.signature(stock).parameters.items()
            if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD]


def check_settings(roi_head: Type[BaseRoIHead], settings: dict, prefix: str = 'mmcausal.TDE') -> None:
    """Raise ``ValueError`` for settings of another RoI head of the host, which would be lost or fail at the first step.

    Settings that lack a required one, such as those of a Mask R-CNN for a cascade, are another RoI head's too.

    Args:
        roi_head: Class of the RoI head.
        settings: Arguments of its constructor.
        prefix: What precedes the name of the host's RoI head in that of the one to use instead.
    """
    if not settings['bbox_head']:
        raise ValueError(f'{roi_head.__name__} needs a bbox_head, the head with the classifier, but got '
                         f'{settings["bbox_head"]!r}')
    heads = settings['bbox_head']
    for head in heads if isinstance(heads, (list, tuple)) else [heads]:
        check_config('bbox_head', head, nn.Module)
    for setting, owners in _settings_of_others(roi_head, settings):
        ours = [f'{prefix}{owner}' for owner in owners if not prefix or owner not in WITHOUT_TDE]
        advice = f'; use {" or ".join(ours)}' if ours else \
            ' and has no TDE; use mmcausal.TDEStandardRoIHead with a Shared2FCBBoxHead'
        raise ValueError(f'{roi_head.__name__} does not use {setting!r}, which belongs to {" or ".join(owners)}'
                         f'{advice}')
    missing = [name for name in required_arguments(roi_head) if name not in settings]
    if missing:
        raise ValueError(f'{roi_head.__name__} needs {", ".join(missing)}, which the config does not have; for the '
                         f'settings of StandardRoIHead, use {prefix}StandardRoIHead')


def _settings_of_others(roi_head: Type[BaseRoIHead], settings: dict) -> Iterator[Tuple[str, List[str]]]:
    """Yield the settings that belong to other RoI heads of the host, and the names of these."""
    unknown = [name for name in settings if name not in _arguments(roi_head)]
    for name in unknown:
        owners = [head for head in HOST_ROI_HEADS if name in _arguments(head)]
        owners = [head for head in owners if set(unknown) <= _arguments(head)] or owners
        if owners:  # the most general of them
            yield name, [head.__name__ for head in owners if not set(head.__mro__[1:]) & set(owners)]
    for mark in _marks(settings):
        if MARKS[mark] not in {base.__name__ for base in roi_head.__mro__}:
            yield mark, [MARKS[mark]]


def _arguments(component: type) -> Set[str]:
    """Return the names of the arguments that a class and its bases accept."""
    return {name for base in component.__mro__ if '__init__' in vars(base)
            for name in inspect.signature(vars(base)['__init__']).parameters}


def _marks(settings: object) -> Iterator[str]:
    """Yield the marks among the keys and types of nested settings."""
    if isinstance(settings, (list, tuple)):
        for entry in settings:
            yield from _marks(entry)
    if isinstance(settings, dict):
        for key, value in settings.items():
            name = getattr(value, '__name__', str(value)).split('.')[-1] if key == 'type' else key
            if name in MARKS:
                yield name
            yield from _marks(value)


def check_box_head(bbox_head: BBoxHead) -> None:
    """Raise ``ValueError`` unless a box head has one linear classifier on a softmax that TDE can replace."""
    layer, name = getattr(bbox_head, 'fc_cls', None), type(bbox_head).__name__
    if not isinstance(layer, nn.Linear):
        raise ValueError(f'TDE needs a box head with one linear classifier fc_cls, but that of {name} is '
                         f'{type(layer).__name__}; use a Shared2FCBBoxHead')
    sigmoids, loss = sigmoid_loss(bbox_head.loss_cls), type(bbox_head.loss_cls).__name__
    if sigmoids:  # the background of independent sigmoids has no logit that could be exempted
        raise ValueError(f'TDE needs a softmax over classes and background, but in {name} {sigmoids}; use '
                         'CrossEntropyLoss or mmcausal.SoftmaxFocalLoss')
    is_seesaw = isinstance(bbox_head.loss_cls, SeesawLoss)
    if bbox_head.custom_activation != is_seesaw:
        raise ValueError(f'TDE needs the softmax of the logits, but {loss} has an activation of its own '
                         '(custom_activation); use CrossEntropyLoss, or SeesawLoss, the only one of these with TDE')
    if layer.out_features - bbox_head.num_classes != (2 if is_seesaw else 1):
        raise ValueError(f'TDE works with losses on C + 1 logits and with SeesawLoss on C + 2, but {name} with {loss} '
                         f'has {layer.out_features} logits for {bbox_head.num_classes} classes; use CrossEntropyLoss')
