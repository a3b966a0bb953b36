"""The number of training images of each class, for the losses that need it."""
from typing import Any

from mmengine.hooks import Hook

from mmcausal.hooks.utils import unwrap
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class ClassPriorHook(Hook):
    """Give ``metainfo['image_counts']`` of the training data to each module with a ``set_image_counts``.

    Raises:
        ValueError: Before training, for data without these counts or a model that does not ask for them.
    """

    def before_train(self, runner: Any) -> None:
        image_counts = runner.train_dataloader.dataset.metainfo.get('image_counts')
        if image_counts is None:
            raise ValueError("ClassPriorHook needs metainfo['image_counts'] of the training data, as "
                             'mmcausal.LVISV1Dataset has it, and found none in '
                             f'{type(runner.train_dataloader.dataset).__name__}')
        modules = [m for m in unwrap(runner.model).modules() if hasattr(m, 'set_image_counts')]
        if not modules:
            raise ValueError('ClassPriorHook found no module that asks for class counts, such as '
                             'mmcausal.EqualizationLoss')
        for module in modules:
            module.set_image_counts(image_counts)
