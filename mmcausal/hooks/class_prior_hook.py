"""The number of training images of each class, for the losses that need it."""
from typing import Any, List

from mmengine.hooks import Hook
from torch import nn

from mmcausal.hooks.utils import unwrap
from mmcausal.registry import HOOKS


def give_image_counts(model: nn.Module, dataset: Any) -> List[nn.Module]:
    """Give ``metainfo['image_counts']`` of a data set to each module with a ``set_image_counts``; return these modules.

    Raises:
        ValueError: There are such modules, and the data set has no counts.
    """
    modules = [m for m in model.modules() if hasattr(m, 'set_image_counts')]
    image_counts = dataset.metainfo.get('image_counts')
    if modules and image_counts is None:
        raise ValueError("ClassPriorHook needs metainfo['image_counts'] of the training data, as "
                         f'mmcausal.LVISV1Dataset has it, and found none in {type(dataset).__name__}')
    for module in modules:
        module.set_image_counts(image_counts)
    return modules


@HOOKS.register_module()
class ClassPriorHook(Hook):
    """Before training, :func:`give_image_counts` of the training data to the model.

    Raises:
        ValueError: Data without these counts, or a model that does not ask for them.
    """

    def before_train(self, runner: Any) -> None:
        if not give_image_counts(unwrap(runner.model), runner.train_dataloader.dataset):
            raise ValueError('ClassPriorHook found no module that asks for class counts, such as '
                             'mmcausal.EqualizationLoss')
