"""Centroids for the memory of OLTR, from the features of stage one."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcausal.hooks.utils import unwrap
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class ClassMeansHook(Hook):
    """Fill ``head.memory`` with the mean feature of each class before training, in one pass over the training images.

    A resumed training keeps the memory of its checkpoint.

    Raises:
        ValueError: A model without a memory, or a class without an image.
    """

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        memory = getattr(getattr(model, 'head', None), 'memory', None)
        if memory is None:
            raise ValueError(f'ClassMeansHook fills the memory of an mmcausal.OLTRHead, but got {type(model).__name__}')
        if runner.iter == 0:
            from mmcausal.models.classifiers.class_means import find_class_means  # needs MMPretrain
            runner.logger.info('One pass over the training images for the centroids of the classes')
            # Each image once, whatever the sampler of the training draws
            loader = dict(runner.cfg.train_dataloader, dataset=runner.train_dataloader.dataset,
                          sampler=dict(type='DefaultSampler', shuffle=False, round_up=False), drop_last=False)
            find_class_means(model, memory, runner.build_dataloader(loader))
