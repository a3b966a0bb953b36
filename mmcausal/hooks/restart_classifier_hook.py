"""Classifier re-training: forget the classifier of stage one."""
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcausal.hooks.utils import unwrap
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class RestartClassifierHook(Hook):
    """Give ``head.fc`` new weights after ``load_from``, the same on all ranks; a resumed training keeps its weights.

    Raises:
        ValueError: Before training, a model without ``head.fc``.
    """

    def before_train(self, runner: Runner) -> None:
        layer = getattr(getattr(unwrap(runner.model), 'head', None), 'fc', None)
        if layer is None:
            raise ValueError('RestartClassifierHook needs a model with a layer head.fc, but got '
                             f'{type(unwrap(runner.model)).__name__}')
        if runner.iter > 0:
            return
        layer.reset_parameters()
        for parameter in layer.parameters():
            broadcast(parameter.data)
