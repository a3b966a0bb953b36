"""Training images of each class, for every module that needs them."""
from typing import Sequence

from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcausal.class_prior import TakesClassCounts
from mmcausal.hooks.utils import modules_of_type
from mmcausal.registry import HOOKS


def give_class_counts(modules: Sequence[TakesClassCounts], dataset: BaseDataset) -> None:
    """Call ``set_class_counts`` of modules with ``metainfo['class_counts']`` of a dataset.

    Raises:
        ValueError: There are modules, but the dataset has no counts.
    """
    class_counts = dataset.metainfo.get('class_counts')
    if modules and class_counts is None:
        raise ValueError("ClassPriorHook needs metainfo['class_counts'], the training images of each class, as in "
                         f"mmcausal's datasets, but {type(dataset).__name__} has none")
    for module in modules:
        module.set_class_counts(class_counts)


@HOOKS.register_module()
class ClassPriorHook(Hook):
    """Give the class counts of the training data to the model before training, see :func:`give_class_counts`.

    Before a test, a classifier that needs counts to infer, but found none in its checkpoint, gets those in the test
    data's ``metainfo``: the counts of the *training* images, which the test splits of mmcausal's classification
    datasets carry. Test labels are never counted.

    Raises:
        ValueError: Data without these counts; before training, a model without a module that takes them.
    """

    def before_train(self, runner: Runner) -> None:
        modules = modules_of_type(runner.model, TakesClassCounts)  # type: ignore[type-abstract]
        if not modules:
            raise ValueError('ClassPriorHook found no module with set_class_counts, such as '
                             'mmcausal.BalancedSoftmaxLoss')
        give_class_counts(modules, runner.train_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        modules = modules_of_type(runner.model, TakesClassCounts)  # type: ignore[type-abstract]
        give_class_counts([module for module in modules if getattr(module, 'lacks_class_counts', False)],
                          runner.test_dataloader.dataset)
