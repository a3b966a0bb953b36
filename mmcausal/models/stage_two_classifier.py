"""What comes after an ordinary training: the features of stage one, another classifier."""
from typing import Any, Dict

from mmcausal.hosts import require_host
from mmcausal.registry import MODELS

require_host('mmpretrain')

from mmpretrain.models import ImageClassifier  # noqa: E402


@MODELS.register_module()
class FineTunedClassifier(ImageClassifier):
    """Same as MMPretrain's ``ImageClassifier``, except that it only trains from stage one's checkpoint.

    Raises:
        ValueError: A checkpoint whose backbone or neck is another one.
        RuntimeError: Training without a checkpoint.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_features = False

    def feature_modules(self) -> Dict[str, Any]:
        """Backbone and neck, by name."""
        modules = dict(backbone=self.backbone, neck=self.neck if self.with_neck else None)
        return {name: module for name, module in modules.items() if module is not None}

    def extract_feat(self, *args: Any, **kwargs: Any) -> Any:
        """Same as the host's, except that training without stage one's checkpoint is an error."""
        if self.training and not self.has_features:
            raise RuntimeError(f'{type(self).__name__} starts from the features of stage one, and no checkpoint gave '
                               "it any: set load_from to stage one's checkpoint")
        return super().extract_feat(*args, **kwargs)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for name, module in self.feature_modules().items():
            own = module.state_dict(prefix=f'{prefix}{name}.')
            saved = {key: value for key, value in state_dict.items() if key.startswith(f'{prefix}{name}.')}
            for key in [*own, *saved]:
                here, there = (tuple(state[key].shape) if key in state else None for state in (own, saved))
                if here != there:
                    difference = (f'{key} has shape {here} here, and is not in the checkpoint' if there is None else
                                  f'{key} has shape {there} in the checkpoint, and is not here' if here is None else
                                  f'{key} has shape {here} here, and {there} in the checkpoint')
                    raise ValueError(f'the checkpoint is not one of this {type(module).__name__}: {difference}')
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.has_features = True


@MODELS.register_module()
class StageTwoClassifier(FineTunedClassifier):
    """Same as :class:`FineTunedClassifier`, with backbone and neck frozen: the second stage of decoupled training.

    Neither their weights nor the statistics of their batch normalisation change.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for module in self.feature_modules().values():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'StageTwoClassifier':
        super().train(mode)
        for module in self.feature_modules().values():
            module.eval()
        return self
