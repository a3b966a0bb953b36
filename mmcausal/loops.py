"""Training loop that optimises nothing."""
from typing import Union

from mmengine.hooks import EMAHook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmcausal.hooks.utils import unwrap
from mmcausal.models import CenteredHead, NCMLinear, StageTwoClassifier
from mmcausal.models.classifiers.class_means import Batch, add_batch, find_center
from mmcausal.registry import LOOPS


@LOOPS.register_module()
class ClassMeansLoop(EpochBasedTrainLoop):
    """One epoch that gives :class:`mmcausal.models.NCMLinear` the mean feature of each class, over all ranks.

    In a :class:`mmcausal.models.CenteredHead`, one more pass over the images finds the centre first.

    Args:
        runner: Runner with a :class:`mmcausal.models.StageTwoClassifier` that has an ``NCMLinear`` as ``head.fc``.
        dataloader: Dataloader of the training images. Augmented images have other means: give it the test pipeline.
        **kwargs: ``val_begin``, ``val_interval`` and ``dynamic_intervals`` of MMEngine's ``EpochBasedTrainLoop``.

    Raises:
        ValueError: Another classifier or layer, a class without an image, a dataloader that drops the last batch, or an
            ``EMAHook``, which would average the means with the weights before.
    """

    def __init__(self, runner: Runner, dataloader: Union[DataLoader, dict], **kwargs: Union[int, list, None]) -> None:
        super().__init__(runner, dataloader, max_epochs=1, **kwargs)
        self.model = unwrap(runner.model)
        if not isinstance(self.model, StageTwoClassifier) or not isinstance(self.model.head.fc, NCMLinear):
            raise ValueError('ClassMeansLoop needs an NCMLinear as head.fc of a StageTwoClassifier, but got a '
                             f'{type(self.model.head.fc).__name__} of a {type(self.model).__name__}')

        if self.dataloader.drop_last:
            raise ValueError('ClassMeansLoop needs all training images, but drop_last=True of its dataloader leaves '
                             'some out')
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise ValueError('ClassMeansLoop must run without EMAHook, which would average the class means with the '
                             'weights before them: leave it out of custom_hooks')

    def run_epoch(self) -> None:
        """Find the centre if the head has one, then the means."""
        if isinstance(self.model.head, CenteredHead):
            self.runner.logger.info('One pass over the training images for their mean feature')
            self.runner.model.train()  # the features of a StageTwoClassifier stay in evaluation mode
            find_center(self.model, self.model.head, self.dataloader)
        super().run_epoch()

    def run_iter(self, idx: int, data_batch: Batch) -> None:
        """Add a batch to the sums; after the last one, set the means."""
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        add_batch(self.model, self.model.head.fc, data_batch)
        if idx + 1 == len(self.dataloader):
            self.model.head.fc.set_means()
        self.runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch, outputs={})
        self._iter += 1
