"""TDE around a trained classifier, at test time only."""
from typing import Any, List, Optional, Union

from torch import nn

from mmcausal.hosts import require_host
from mmcausal.models.deconfound_linear import Alpha
from mmcausal.models.enable_tde import enable_tde, is_augmented
from mmcausal.registry import MODELS

require_host('mmpretrain')

from mmpretrain.models import AverageClsScoreTTA  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402


@MODELS.register_module()
class TDEClassifierTTA(AverageClsScoreTTA):
    """Test a trained classifier of MMPretrain with TDE, whatever its config says.

    Usable as ``tta_model`` of a config, by ``--tta`` of the host's ``tools/test.py``, or as the ``model`` itself. It
    accepts ordinary pipelines and test-time augmentation, whose scores are averaged.

    Args:
        module: The classifier, or its config.
        alpha: Trade-off of Eq. 8, or ``'auto'``, see :class:`DeconfoundLinear`.
        classifier: Name of the classifier layer within ``module``, see :func:`mmcausal.models.enable_tde`.
        data_preprocessor: As in MMEngine's ``BaseTTAModel``.

    Raises:
        ValueError: At construction, for an alpha out of range or a layer that is neither linear nor cosine.
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
        return super().test_step(data) if is_augmented(data) else self.module.test_step(data)
