"""A detector, its checkpoint and its data, compared before the work starts."""
from types import SimpleNamespace
from typing import Any, Dict, List

from mmcausal.hooks.utils import unwrap
from mmcausal.hosts import require_host
from mmcausal.registry import HOOKS

require_host('mmdet')

from mmdet.engine.hooks import NumClassCheckHook  # noqa: E402

CLASSIFIER = 'fc_cls.weight'


@HOOKS.register_module()
class DetectorCheckHook(NumClassCheckHook):
    """Same as MMDetection's ``NumClassCheckHook``, except that it looks at all data before the first epoch or test.

    It also refuses a checkpoint with another number of classification stages, and a test with a checkpoint whose
    classifiers do not fit and so were not loaded.

    Raises:
        ValueError: Classes of a data set, or stages or classes of a checkpoint, that are not the detector's.
    """

    def __init__(self) -> None:
        self.misfits: List[str] = []

    def before_train(self, runner: Any) -> None:
        self._check_classes(runner, runner.train_dataloader)
        if runner.val_loop is not None:
            self._check_classes(runner, runner.val_dataloader)

    def before_test(self, runner: Any) -> None:
        self._check_classes(runner, runner.test_dataloader)
        if self.misfits:
            raise ValueError(f'the checkpoint is not one of this detector: {"; ".join(self.misfits)}')

    def after_load_checkpoint(self, runner: Any, checkpoint: Dict[str, Any]) -> None:
        saved = _classifiers(checkpoint.get('state_dict', checkpoint))
        own = _classifiers(unwrap(runner.model).state_dict())
        if saved and set(saved) != set(own):
            raise ValueError(f'the checkpoint has {len(saved)} stages of classification, {sorted(saved)}, and the '
                             f'detector has {len(own)}: {sorted(own)}')
        self.misfits = [f'{name} has shape {shape} there and {own[name]} here' for name, shape in saved.items()
                        if shape != own[name]]

    def _check_classes(self, runner: Any, dataloader: Any) -> None:
        stand_in = SimpleNamespace(model=runner.model, train_dataloader=dataloader, logger=runner.logger)
        try:
            self._check_head(stand_in, 'train')
        except AssertionError as error:
            raise ValueError(str(error)) from error


def _classifiers(state: Dict[str, Any]) -> Dict[str, tuple]:
    """Shapes of the classifiers of a state dictionary, by name; the same inside and outside a test-time wrapper."""
    return {key: tuple(value.shape) for name, value in state.items()
            for key in [name[len('module.'):] if name.startswith('module.') else name] if key.endswith(CLASSIFIER)}
