"""TDE in the classifier of a trained model, stock or ours, in place."""
from typing import Any, Type, TypeVar

from torch import nn

from mmcausal.models.deconfound_linear import Alpha, DeconfoundLinear, check_alpha

Layer = TypeVar('Layer', bound=DeconfoundLinear)


def enable_tde(model: nn.Module, alpha: Alpha, classifier: str = 'head.fc') -> DeconfoundLinear:
    """Make the linear layer named ``classifier`` infer by TDE with ``alpha``, in place, and return it.

    A :class:`DeconfoundLinear` only takes the alpha. A plain ``nn.Linear`` is replaced by one that shares its
    parameters, so checkpoints fit as before; its head direction is one of the whole feature (K = 1).

    Raises:
        ValueError: No such layer, or one that is not linear.
    """
    alpha = check_alpha(alpha)
    try:
        layer = model.get_submodule(classifier)
    except AttributeError as error:
        raise ValueError(f'classifier={classifier!r} names no layer of {type(model).__name__}: {error}') from error
    if isinstance(layer, DeconfoundLinear):
        layer.alpha = alpha
        return layer
    if type(layer) is not nn.Linear:
        raise ValueError(f'TDE needs a linear classifier, and {classifier!r} is a {type(layer).__name__}; name the '
                         'layer in the argument classifier')
    parent, _, name = classifier.rpartition('.')
    tde_layer = share_parameters(layer, DeconfoundLinear, alpha=alpha, normalizer='linear')
    setattr(model.get_submodule(parent), name, tde_layer)
    return tde_layer


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
