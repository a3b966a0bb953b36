"""TDE around a trained classifier, at test time only."""
from typing import Any, List, Optional, Union

from torch import nn

from mmcausal.hosts import require_host
from mmcausal.models.deconfound_linear import Alpha, DeconfoundLinear, check_alpha
from mmcausal.registry import MODELS

require_host('mmcv')
require_host('mmpretrain')

from mmpretrain.models import AverageClsScoreTTA  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402


def enable_tde(model: nn.Module, alpha: Alpha, classifier: str = 'head.fc') -> DeconfoundLinear:
    """Make the linear layer named ``classifier`` infer by TDE with ``alpha``, in place, and return it.

    A :class:`DeconfoundLinear` only takes the alpha. A plain ``nn.Linear`` is replaced by one that shares its
    parameters, so checkpoints fit as before; its head direction is one of the whole feature (K = 1).

    Raises:
        ValueError: No such layer, or one that is not linear.
    """
    check_alpha(alpha)
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
    tde_layer = DeconfoundLinear(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        num_heads=1,
        normalizer='linear',
        alpha=alpha,
        device=layer.weight.device,
        dtype=layer.weight.dtype)
    tde_layer.weight, tde_layer.bias = layer.weight, layer.bias
    parent, _, name = classifier.rpartition('.')
    setattr(model.get_submodule(parent), name, tde_layer.train(layer.training))
    return tde_layer


@MODELS.register_module()
class TDEClassifierTTA(AverageClsScoreTTA):
    """Test a trained classifier of MMPretrain with TDE, whatever its config says.

    Usable as ``tta_model`` of a config, by ``--tta`` of the host's ``tools/test.py``, or as the ``model`` itself. It
    accepts ordinary pipelines and test-time augmentation, whose scores are averaged.

    Args:
        module: The classifier, or its config.
        alpha: Trade-off of Eq. 8, or ``'auto'``, see :class:`DeconfoundLinear`.
        classifier: Name of the linear layer within ``module``.
        data_preprocessor: As in MMEngine's ``BaseTTAModel``.

    Raises:
        ValueError: At construction, for an alpha out of range or a layer that is not linear.
        RuntimeError: At the first batch, where the checkpoint has no head direction.
    """

    def __init__(self,
                 module: Union[dict, nn.Module],
                 alpha: Alpha,
                 classifier: str = 'head.fc',
                 data_preprocessor: Optional[Union[dict, nn.Module]] = None) -> None:
        super().__init__(module, data_preprocessor)
        enable_tde(self.module, alpha, classifier)

    def test_step(self, data: Any) -> List[DataSample]:
        """Predictions for a batch, or for a list of differently augmented batches."""
        samples = data['data_samples'] if isinstance(data, dict) else data[1]
        is_augmented = isinstance(samples[0], (list, tuple))
        return super().test_step(data) if is_augmented else self.module.test_step(data)
