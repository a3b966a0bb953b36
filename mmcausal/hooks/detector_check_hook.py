"""Comparison of a detector with its checkpoint and its data, before the work starts."""
from types import SimpleNamespace
from typing import Dict, List

from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mmcausal.checkpoints import Shapes, check_checkpoint, differences, shapes_of
from mmcausal.hooks.utils import unwrap
from mmcausal.hosts import require_host
from mmcausal.registry import HOOKS

require_host('mmdet')

from mmdet.engine.hooks import NumClassCheckHook  # noqa: E402


@HOOKS.register_module()
class DetectorCheckHook(NumClassCheckHook):
    """Same as MMDetection's ``NumClassCheckHook``, except that it checks all data before the first epoch or test.

    It also refuses a checkpoint with another number of classification stages, and a test with a checkpoint of other
    classifiers, which the host leaves out.

    Raises:
        ValueError: Classes of a dataset, or stages or classes of a checkpoint, that are not the detector's.
    """

    def __init__(self) -> None:
        self.misfits: List[str] = []

    def before_train(self, runner: Runner) -> None:
        self._check_classes(runner, runner.train_dataloader)
        if runner.val_loop is not None:
            self._check_classes(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        self._check_classes(runner, runner.test_dataloader)
        check_checkpoint('detector', self.misfits)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        saved = _classifiers(checkpoint.get('state_dict', checkpoint))
        own = _classifiers(unwrap(runner.model).state_dict())
        self.misfits = differences(own, saved) if saved else []
        if saved.keys() != own.keys():
            check_checkpoint('detector', self.misfits)

    def _check_classes(self, runner: Runner, dataloader: DataLoader) -> None:
        stand_in = SimpleNamespace(model=runner.model, train_dataloader=dataloader, logger=runner.logger)
        try:
            self._check_head(stand_in, 'train')
        except AssertionError as error:
            raise ValueError(str(error)) from error


def _classifiers(state: Dict[str, Tensor]) -> Shapes:
    """Return the shapes of the classifiers by name; the same inside and outside a test-time wrapper."""
    shapes = shapes_of(state, suffix='fc_cls.weight')
    return {name[len('module.'):] if name.startswith('module.') else name: shape for name, shape in shapes.items()}
