"""Classifier re-training: the classifier of stage one is forgotten."""
from typing import Any

from mmengine.dist import broadcast
from mmengine.hooks import Hook

from mmcausal.hooks.utils import unwrap
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class RestartClassifierHook(Hook):
    """Give ``head.fc`` new weights after ``load_from``, and none where a training is resumed; all ranks get the same.

    Raises:
        ValueError: Before training, a model without ``head.fc``.
    """

    def before_train(self, runner: Any) -> None:
        layer = getattr(getattr(unwrap(runner.model), 'head', None), 'fc', None)
        if layer is None:
            raise ValueError(f'RestartClassifierHook needs a model with a layer head.fc, got '
                             f'{type(unwrap(runner.model)).__name__}')
        if runner.iter > 0:
            return
        layer.reset_parameters()
        for parameter in layer.parameters():
            broadcast(parameter.data)
