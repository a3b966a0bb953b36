"""The centroids that OLTR remembers, from the features of stage one."""
from typing import Any

from mmengine.hooks import Hook

from mmcausal.hooks.utils import unwrap
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class ClassMeansHook(Hook):
    """Before training, fill ``head.memory`` with the mean feature of each class, in one pass over the training images.

    A training that is resumed keeps the memory of its checkpoint.

    Raises:
        ValueError: A model without a memory, or a class without an image.
    """

    def before_train(self, runner: Any) -> None:
        from mmcausal.loops import find_class_means
        model = unwrap(runner.model)
        memory = getattr(getattr(model, 'head', None), 'memory', None)
        if memory is None:
            raise ValueError(f'ClassMeansHook fills the memory of an mmcausal.OLTRHead, got {type(model).__name__}')
        if runner.iter == 0:
            runner.logger.info('One pass over the training images for the centroids of the classes')
            # Each image once, whatever the sampler of the training draws
            loader = dict(runner.cfg.train_dataloader, dataset=runner.train_dataloader.dataset,
                          sampler=dict(type='DefaultSampler', shuffle=False, round_up=False), drop_last=False)
            find_class_means(model, memory, runner.build_dataloader(loader))
