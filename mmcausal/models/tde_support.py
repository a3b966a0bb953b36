"""Where TDE is right: one layer yields the logits of a softmax over the classes. Everything else is refused.

:func:`check_tde` is the one check that every entry shares: ``enable_tde`` (with the test-time wrapper, demo, export and
analysis tools) and the hooks. The heads call :func:`check_softmax_loss`.
"""
from types import MethodType
from typing import Dict, Optional

from torch import nn

from mmcausal.models.head_probe import probe_head
from mmcausal.models.layers import TDELinear

# Losses on sigmoids without the mark of the hosts' losses, the attribute use_sigmoid: package and name
SIGMOID_LOSSES = {('mmpretrain', 'FocalLoss'), ('timm', 'AsymmetricLossMultiLabel'), ('timm', 'BinaryCrossEntropy'),
                  ('torch', 'BCELoss'), ('torch', 'BCEWithLogitsLoss'), ('torch', 'MultiLabelMarginLoss'),
                  ('torch', 'MultiLabelSoftMarginLoss'), ('torch', 'SoftMarginLoss')}


def check_tde(model: nn.Module, classifier: str) -> None:
    """Raise ``ValueError`` unless ``model`` predicts by the softmax of the outputs of its layer named ``classifier``.

    The head is the innermost module around the layer that predicts or has a loss. No loss in it may take sigmoids. A
    copy of it with random weights predicts on random features: the scores must be the softmax of the layer's outputs,
    up to a positive factor and an offset of each class. A head that needs more than features to predict is judged by
    its number of classes and its other linear layers.
    """
    if not isinstance(model, nn.Module) or not isinstance(classifier, str):
        raise ValueError(f'TDE needs a model and the name of its classifier, but got {classifier!r} of a '
                         f'{type(model).__name__}')
    if is_detector(model):
        from mmcausal.models.roi_heads.tde_roi_heads import check_layer_of_detector  # needs MMDetection
        check_layer_of_detector(model, classifier)
        return
    fault = _fault(model, classifier)
    if fault:
        raise ValueError(f'{fault}; use {_advice(model, classifier)}')


def check_softmax_loss(head: nn.Module) -> None:
    """Raise ``ValueError`` if a loss in ``head`` takes sigmoids."""
    fault = _fault_of_losses(head)
    if fault:
        raise ValueError(f'{fault}; use a loss on the softmax, such as CrossEntropyLoss or mmcausal.SoftmaxFocalLoss')


def sigmoid_loss(module: nn.Module) -> str:
    """Return which loss within ``module`` takes sigmoids, as a clause, or an empty string."""
    for loss in module.modules():
        if getattr(loss, 'use_sigmoid', False):
            return f'{type(loss).__name__} takes sigmoids (use_sigmoid=True)'
        if any((base.__module__.split('.')[0], base.__name__) in SIGMOID_LOSSES for base in type(loss).__mro__):
            return f'{type(loss).__name__} takes sigmoids'
    return ''


def is_detector(model: nn.Module) -> bool:
    """Return whether a model derives from one of MMDetection's."""
    return any(base.__module__.startswith('mmdet.') for base in type(model).__mro__)


def _fault(model: nn.Module, classifier: str) -> str:
    """Return why a layer has no TDE, as the start of a sentence, or an empty string."""
    if any(base.__name__ == 'BaseRetriever' for base in type(model).__mro__):
        return f'TDE needs a classifier, but {type(model).__name__} ranks images by their similarity'
    layer, owner = _find(model, classifier), _owner(model, classifier)
    if isinstance(layer, nn.Linear):
        return _fault_of_head(model.get_submodule(owner)) or _fault_of_predictions(model, owner, classifier)
    what = f'is not a layer of {type(model).__name__}' if layer is None else f'is a {type(layer).__name__}'
    wrong_name = f'TDE needs a linear or a cosine classifier, but {classifier!r} {what}'
    if not owner:
        return wrong_name
    faults = [_fault(model, name) for name in _linears(model, owner)]
    return faults[0] if faults and all(faults) else _fault_of_head(model.get_submodule(owner)) or wrong_name


def _advice(model: nn.Module, classifier: str) -> str:
    """Return the right layers of the head, or a head that has one."""
    owner = _owner(model, classifier)
    names = [name for name in _linears(model, owner) or _linears(model, '') if not _fault(model, name)]
    if names:
        return ' or '.join(f'classifier={name!r}' for name in names)
    head = model.get_submodule(owner)
    distils = getattr(head, 'distillation', getattr(head, 'dist', False))
    other = 'a head with a softmax over one linear layer, such as LinearClsHead with CrossEntropyLoss'
    return f'distillation=False, or {other}' if distils else other


def _fault_of_head(head: nn.Module) -> str:
    if isinstance(getattr(head, 'loss', None), MethodType) and not hasattr(head, 'predict'):
        return f'TDE needs a head that predicts classes, but {type(head).__name__} has no method predict'
    return _fault_of_losses(head)


def _fault_of_losses(head: nn.Module) -> str:
    loss = sigmoid_loss(head)
    return f'{type(head).__name__} needs a loss on the softmax over classes for TDE, but {loss}' if loss else ''


def _fault_of_predictions(model: nn.Module, owner: str, classifier: str) -> str:
    head = model.get_submodule(owner)
    takes_features = hasattr(head, 'predict') and not hasattr(head, 'extract_feat')  # a whole model takes images
    probe = probe_head(head, classifier[len(owner):].lstrip('.')) if takes_features else None
    if probe is None:
        return _fault_of_structure(model, owner, classifier)
    name = type(head).__name__
    if not probe.is_distribution:
        return f'TDE needs scores by a softmax over the classes, but {name} scores each class by itself (sigmoids)'
    if not probe.is_of_layer:
        return f'TDE needs the layer that yields the logits of {name}, but {classifier!r} is another'
    if not probe.is_softmax_of_layer:
        return (f'TDE needs scores by the softmax of one layer, but those of {name} are not of {classifier!r} alone '
                '(several classifiers, or other layers behind this one)')
    return ''


def _fault_of_structure(model: nn.Module, owner: str, classifier: str) -> str:
    """Judge a layer by the number of classes that a module around it has; without such a number, accept it."""
    layer, name = model.get_submodule(classifier), type(model.get_submodule(owner)).__name__
    classes = _num_classes(model, classifier)
    if classes is None:
        return ''
    if layer.out_features != classes:
        return (f'TDE needs the layer that yields the {classes} classes of {name}, but {classifier!r} has '
                f'{layer.out_features} outputs')
    rivals = [other for other, linear in _linears(model, owner).items() if linear.out_features == classes]
    is_chosen = len(rivals) == 1 or isinstance(layer, TDELinear)
    return '' if is_chosen else f'TDE needs one layer with {classes} outputs, but {name} has {" and ".join(rivals)}'


def _num_classes(model: nn.Module, classifier: str) -> Optional[int]:
    """Return ``num_classes`` of the innermost module around a layer that has it, or the outputs of the last layer.

    The last linear layer counts in an ``nn.Sequential`` and in a model that predicts from images.
    """
    parts = classifier.split('.')
    for end in range(len(parts) - 1, -1, -1):
        num_classes = getattr(model.get_submodule('.'.join(parts[:end])), 'num_classes', None)
        if isinstance(num_classes, int):
            return num_classes
    is_ordered = isinstance(model, nn.Sequential) or hasattr(model, 'predict')
    return list(_linears(model, '').values())[-1].out_features if is_ordered else None


def _find(model: nn.Module, name: str) -> Optional[nn.Module]:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _owner(model: nn.Module, classifier: str) -> str:
    """Return the name of the innermost module around a layer that predicts or has a loss, by default the model's."""
    parts = classifier.split('.')
    names = ('.'.join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    return next((name for name in names if hasattr(_find(model, name), 'predict')
                 or hasattr(_find(model, name), 'loss')), '')


def _linears(model: nn.Module, owner: str) -> Dict[str, nn.Linear]:
    """Return the linear layers within a module of the model, by their names in the model."""
    return {f'{owner}.{name}'.strip('.'): module for name, module in model.get_submodule(owner).named_modules()
            if isinstance(module, nn.Linear)}
