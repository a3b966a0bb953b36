"""Second-stage training: keep the features of stage one, train a new classifier."""
from typing import Dict, Union

from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from mmcausal.checkpoints import check_checkpoint, check_finite, differences, shapes_of
from mmcausal.checks import check_config
from mmcausal.registry import MODELS


@MODELS.register_module()
class FineTunedClassifier(ImageClassifier):
    """Same as MMPretrain's ``ImageClassifier``, except that it only trains from a checkpoint of stage one.

    Args:
        backbone: As in ``ImageClassifier``.
        **kwargs: ``neck``, ``head`` ... of ``ImageClassifier``.

    Raises:
        ValueError: A checkpoint of another backbone or neck, or with features that are not finite.
        RuntimeError: Training without a checkpoint.
    """

    def __init__(self, backbone: dict, **kwargs: Union[dict, str, None]) -> None:
        super().__init__(check_config('backbone', backbone, nn.Module), **kwargs)
        self.has_features = False

    def feature_modules(self) -> Dict[str, nn.Module]:
        """Return backbone and neck, by name."""
        modules = dict(backbone=self.backbone, neck=self.neck if self.with_neck else None)
        return {name: module for name, module in modules.items() if module is not None}

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> Union[Tensor, tuple]:
        """Same as the host's, except that training without a checkpoint of stage one is an error."""
        if self.training and not self.has_features:
            raise RuntimeError(f'{type(self).__name__} starts from the features of stage one, but no checkpoint '
                               "provided any: set load_from to stage one's checkpoint")
        return super().extract_feat(inputs, stage)

    def _load_from_state_dict(self, state_dict: Dict[str, Tensor], prefix: str, *args: object) -> None:
        for name, module in self.feature_modules().items():
            key = f'{prefix}{name}.'
            own, saved = shapes_of(module.state_dict(prefix=key)), shapes_of(state_dict, key)
            check_checkpoint(type(module).__name__, differences(own, saved))
            check_finite({name: state_dict[name] for name in saved})
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.has_features = True


@MODELS.register_module()
class StageTwoClassifier(FineTunedClassifier):
    """Same as :class:`FineTunedClassifier`, with backbone and neck frozen: the second stage of decoupled training.

    Neither their weights nor the statistics of their batch normalisation change.
    """

    def __init__(self, backbone: dict, **kwargs: Union[dict, str, None]) -> None:
        super().__init__(backbone, **kwargs)
        for module in self.feature_modules().values():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'StageTwoClassifier':
        super().train(mode)
        for module in self.feature_modules().values():
            module.eval()
        return self
