"""TDE in the classifier of a trained model, stock or ours, in place."""
from typing import List, Tuple, Type, TypeVar, Union

from torch import nn

from mmcausal.hosts import is_installed
from mmcausal.models.layers import Alpha, DeconfoundLinear, TDELinear, check_alpha
from mmcausal.models.tde_support import check_tde

Layer = TypeVar('Layer', bound=DeconfoundLinear)
# What a test pipeline yields: inputs and data samples
TestBatch = Union[dict, Tuple[list, list], List[list]]


def enable_tde(model: nn.Module, alpha: Alpha, classifier: str = 'head.fc') -> TDELinear:
    """Make the layer named ``classifier`` infer by TDE with ``alpha``, in place, and return it.

    A :class:`TDELinear` only gets the alpha. A plain ``nn.Linear``, or the cosine classifier of MMPretrain's
    ``ArcFaceClsHead`` (``head.norm_product``), is replaced by a layer that shares its parameters, so checkpoints fit as
    before. Its head direction is that of the whole feature (K = 1).

    Raises:
        ValueError: A layer that has no TDE, see :func:`mmcausal.models.tde_support.check_tde`.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> layer = enable_tde(model, alpha=0.5, classifier='1')
        >>> layer.observe(torch.rand(8, 64))  # the training features
        >>> layer.update_direction(momentum=0.)  # the exact mean
        >>> model.eval()(torch.rand(8, 64)).shape
        torch.Size([8, 10])
    """
    alpha = check_alpha(alpha)
    check_tde(model, classifier)
    layer = model.get_submodule(classifier)
    if isinstance(layer, TDELinear):
        layer.alpha = alpha
        return layer
    parent, _, name = classifier.rpartition('.')
    tde_layer = as_deconfound_linear(layer, classifier)
    tde_layer.alpha = alpha
    setattr(model.get_submodule(parent), name, tde_layer)
    return tde_layer


def alpha_of(model: nn.Module, classifier: str = 'head.fc') -> Alpha:
    """Return the alpha with which the layer named ``classifier`` infers: 0 unless it is a :class:`TDELinear`."""
    return getattr(dict(model.named_modules()).get(classifier), 'alpha', 0.)


def without_wrappers(model: nn.Module) -> nn.Module:
    """Return the model inside wrappers for several processes or for test-time augmentation, or the model itself."""
    while isinstance(getattr(model, 'module', None), nn.Module):
        model = model.module
    return model


def as_deconfound_linear(layer: nn.Module, name: str) -> DeconfoundLinear:
    """Convert a stock classifier, linear or cosine, to a :class:`DeconfoundLinear` with the same outputs."""
    if type(layer) is nn.Linear:
        return share_parameters(layer, DeconfoundLinear, normalizer='linear')
    if not _is_norm_product(layer):
        raise ValueError(f'TDE needs a linear or a cosine classifier, but {name!r} is a {type(layer).__name__}; set '
                         'the argument classifier to the name of the layer')
    if layer.k != 1 or not (layer.feature_norm and layer.weight_norm):
        raise ValueError(f'TDE needs a NormProduct with k=1, feature_norm=True and weight_norm=True, but {name!r} has '
                         f'k={layer.k}, feature_norm={layer.feature_norm}, weight_norm={layer.weight_norm}; use '
                         'ArcFaceClsHead with num_subcenters=1')
    # tau = 1: ArcFaceClsHead scales the cosines of this layer itself.
    return share_parameters(layer, DeconfoundLinear, normalizer='cosine', tau=1.)


def _is_norm_product(layer: nn.Module) -> bool:
    if not is_installed('mmpretrain'):
        return False
    from mmpretrain.models.heads.margin_head import NormProduct
    return type(layer) is NormProduct


def share_parameters(layer: nn.Module, tde_class: Type[Layer], normalizer: str, tau: float = 16.) -> Layer:
    """Return a ``tde_class`` with one head (K = 1) and the very parameters, device and mode of a linear layer."""
    tde_layer = tde_class(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        num_heads=1,
        tau=tau,
        normalizer=normalizer,
        device=layer.weight.device,
        dtype=layer.weight.dtype)
    tde_layer.weight, tde_layer.bias = layer.weight, layer.bias
    return tde_layer.train(layer.training)


def is_augmented(data: TestBatch) -> bool:
    """Return whether a batch is a list of differently augmented batches, as test-time augmentation makes it."""
    samples = data['data_samples'] if isinstance(data, dict) else data[1]
    return isinstance(samples[0], (list, tuple))
