"""The second stage of decoupled training: the features of stage one, another classifier."""
from typing import Any, Dict, List

from torch import Tensor

from mmcausal.hosts import require_host
from mmcausal.registry import MODELS

require_host('mmpretrain')

from mmpretrain.models import ImageClassifier  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402


@MODELS.register_module()
class StageTwoClassifier(ImageClassifier):
    """Same as MMPretrain's ``ImageClassifier``, except that backbone and neck stay as ``load_from`` gave them.

    They get no gradient, and stay in evaluation mode, so that the statistics of batch normalisation stay too.

    Raises:
        ValueError: A checkpoint of another backbone.
        RuntimeError: Training without a checkpoint.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_features = False
        for module in self._feature_modules().values():
            module.requires_grad_(False)

    def _feature_modules(self) -> Dict[str, Any]:
        modules = dict(backbone=self.backbone, neck=self.neck if self.with_neck else None)
        return {name: module for name, module in modules.items() if module is not None}

    def train(self, mode: bool = True) -> 'StageTwoClassifier':
        super().train(mode)
        for module in self._feature_modules().values():
            module.eval()
        return self

    def loss(self, inputs: Tensor, data_samples: List[DataSample]) -> Dict[str, Tensor]:
        """Losses of a batch, of the classifier alone."""
        if not self.has_features:
            raise RuntimeError('StageTwoClassifier trains a classifier on the features of stage one, and no checkpoint '
                               "gave it any: set load_from to stage one's checkpoint")
        return super().loss(inputs, data_samples)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for name, module in self._feature_modules().items():
            for key, value in module.state_dict(prefix=f'{prefix}{name}.').items():
                found = getattr(state_dict.get(key), 'shape', None)
                if found != value.shape:
                    raise ValueError(
                        f'the checkpoint is not one of this {type(module).__name__}: {key} has shape '
                        f'{tuple(value.shape)} here, and ' +
                        ('is not in the checkpoint' if found is None else f'{tuple(found)} in the checkpoint'))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.has_features = True
