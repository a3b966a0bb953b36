"""Schedule of BBN: from the first branch to the second."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcausal.hooks.utils import check_epochs, unwrap
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class CumulativeLearningHook(Hook):
    r"""In epoch t of T, give BBN's conventional branch the share :math:`1 - (t / T)^2` (Zhou et al., CVPR 2020, Eq. 4).

    Raises:
        ValueError: Before training, an ``IterBasedTrainLoop``, or a model that is not a ``BBNClassifier``.
    """

    def before_train(self, runner: Runner) -> None:
        from mmcausal.models import BBNClassifier  # needs MMPretrain
        check_epochs(self, runner)
        if not isinstance(unwrap(runner.model), BBNClassifier):
            raise ValueError('CumulativeLearningHook schedules an mmcausal.BBNClassifier, but got '
                             f'{type(unwrap(runner.model)).__name__}')

    def before_train_epoch(self, runner: Runner) -> None:
        unwrap(runner.model).conventional_share = 1 - (runner.epoch / runner.max_epochs)**2
