"""The number of training images of each class, for whatever needs it."""
from typing import Any, List, Sequence

from mmengine.hooks import Hook
from torch import nn

from mmcausal.hooks.utils import unwrap
from mmcausal.registry import HOOKS


def modules_with_counts(model: nn.Module) -> List[Any]:
    """The modules of a model that take class counts: those with a ``set_class_counts``."""
    return [module for module in model.modules() if hasattr(module, 'set_class_counts')]


def give_class_counts(modules: Sequence[Any], dataset: Any) -> None:
    """Give ``metainfo['class_counts']`` of a data set to modules.

    Raises:
        ValueError: There are modules, and the data set has no counts.
    """
    class_counts = dataset.metainfo.get('class_counts')
    if modules and class_counts is None:
        raise ValueError("ClassPriorHook needs metainfo['class_counts'], the training images of each class, as "
                         f"mmcausal's data sets have it, and found none in {type(dataset).__name__}")
    for module in modules:
        module.set_class_counts(class_counts)


@HOOKS.register_module()
class ClassPriorHook(Hook):
    """Before training, :func:`give_class_counts` of the training data to the model.

    Before testing, a classifier that needs counts to infer and has none, as its checkpoint had none, gets those in the
    test data's ``metainfo``: the counts of the *training* images, as the test splits of mmcausal's classification data
    sets carry them. No count is ever made of test labels.

    Raises:
        ValueError: Data without these counts; before training, a model that does not ask for them.
    """

    def before_train(self, runner: Any) -> None:
        modules = modules_with_counts(unwrap(runner.model))
        if not modules:
            raise ValueError('ClassPriorHook found no module that asks for class counts, such as '
                             'mmcausal.BalancedSoftmaxLoss')
        give_class_counts(modules, runner.train_dataloader.dataset)

    def before_test(self, runner: Any) -> None:
        modules = modules_with_counts(unwrap(runner.model))
        give_class_counts([module for module in modules if getattr(module, 'lacks_class_counts', False)],
                          runner.test_dataloader.dataset)
