"""TDE in the classifier of a trained model, stock or ours, in place."""
from typing import Any, Type, TypeVar

from torch import nn

from mmcausal.hosts import is_installed
from mmcausal.models.deconfound_linear import Alpha, DeconfoundLinear, check_alpha

Layer = TypeVar('Layer', bound=DeconfoundLinear)


def enable_tde(model: nn.Module, alpha: Alpha, classifier: str = 'head.fc') -> DeconfoundLinear:
    """Make the layer named ``classifier`` infer by TDE with ``alpha``, in place, and return it.

    A :class:`DeconfoundLinear` only takes the alpha. A plain ``nn.Linear``, and the cosine classifier of MMPretrain's
    ``ArcFaceClsHead`` (``head.norm_product``), are replaced by one that shares their parameters, so checkpoints fit as
    before; its head direction is one of the whole feature (K = 1).

    Raises:
        ValueError: No such layer, or one that is neither linear nor cosine.
    """
    alpha = check_alpha(alpha)
    try:
        layer = model.get_submodule(classifier)
    except AttributeError as error:
        raise ValueError(f'classifier={classifier!r} names no layer of {type(model).__name__}: {error}') from error
    if isinstance(layer, DeconfoundLinear):
        layer.alpha = alpha
        return layer
    parent, _, name = classifier.rpartition('.')
    tde_layer = as_deconfound_linear(layer, classifier)
    tde_layer.alpha = alpha
    setattr(model.get_submodule(parent), name, tde_layer)
    return tde_layer


def as_deconfound_linear(layer: Any, name: str) -> DeconfoundLinear:
    """A stock classifier, linear or cosine, as a :class:`DeconfoundLinear` with the same parameters and outputs."""
    if type(layer) is nn.Linear:
        return share_parameters(layer, DeconfoundLinear, normalizer='linear')
    if not _is_norm_product(layer):
        raise ValueError(f'TDE needs a linear or a cosine classifier, and {name!r} is a {type(layer).__name__}; name '
                         'the layer in the argument classifier')
    if layer.k != 1 or not (layer.feature_norm and layer.weight_norm):
        raise ValueError(f'TDE needs a NormProduct with k=1, feature_norm=True and weight_norm=True, and {name!r} has '
                         f'k={layer.k}, feature_norm={layer.feature_norm}, weight_norm={layer.weight_norm}')
    # tau = 1: ArcFaceClsHead takes cosines from this layer, and scales them itself.
    return share_parameters(layer, DeconfoundLinear, normalizer='cosine', tau=1.)


def _is_norm_product(layer: Any) -> bool:
    if not is_installed('mmpretrain'):
        return False
    from mmpretrain.models.heads.margin_head import NormProduct
    return type(layer) is NormProduct


def share_parameters(layer: nn.Linear, tde_class: Type[Layer], **kwargs: Any) -> Layer:
    """A ``tde_class`` of one head (K = 1) with the very parameters, device and mode of a linear layer."""
    tde_layer = tde_class(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        num_heads=1,
        device=layer.weight.device,
        dtype=layer.weight.dtype,
        **kwargs)
    tde_layer.weight, tde_layer.bias = layer.weight, layer.bias
    return tde_layer.train(layer.training)


def is_augmented(data: Any) -> bool:
    """Whether a batch is a list of differently augmented batches, as test-time augmentation makes it."""
    samples = data['data_samples'] if isinstance(data, dict) else data[1]
    return isinstance(samples[0], (list, tuple))
