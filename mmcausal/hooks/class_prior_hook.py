"""Training images of each class, for every module that needs them."""
from typing import List

from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import nn

from mmcausal.class_prior import TakesClassCounts
from mmcausal.datasets.given_counts import give_class_counts, give_missing_counts
from mmcausal.hooks.utils import modules_of_type
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class ClassPriorHook(Hook):
    """Count the training images of each class and give the counts to the model.

    See :func:`mmcausal.datasets.given_counts.give_class_counts`. The losses that MMPretrain's ``SwitchRecipeHook``
    brings in later get them too.

    Before a validation or test, a classifier that needs counts to infer, but found none in its checkpoint, gets those
    in the data's ``metainfo``: the counts of the *training* images, which all splits of mmcausal's classification
    datasets carry. Test labels are never counted.

    Raises:
        ValueError: Data without these counts; before training, a model without a module that takes them.
    """

    def before_train(self, runner: Runner) -> None:
        # EMAHook copied the model when nobody knew the counts, and averages only buffers of one size
        models = [runner.model, *(hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))]
        models += _losses_to_come(runner)
        modules = [module for model in models
                   for module in modules_of_type(model, TakesClassCounts)]  # type: ignore[type-abstract]
        if not modules:
            raise ValueError('ClassPriorHook found no module with set_class_counts, such as '
                             'mmcausal.BalancedSoftmaxLoss')
        give_class_counts(modules, runner.train_dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        give_missing_counts(runner.model, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        give_missing_counts(runner.model, runner.test_dataloader.dataset)


def _losses_to_come(runner: Runner) -> List[nn.Module]:
    """Return the losses of MMPretrain's ``SwitchRecipeHook``, on the device of the model."""
    schedules = [getattr(hook, 'schedule', None) for hook in runner.hooks]
    losses = [recipe.get('loss') for schedule in schedules if isinstance(schedule, dict)
              for recipe in schedule.values()]
    return [loss.to(next(runner.model.parameters()).device) for loss in losses if isinstance(loss, nn.Module)]
