"""A training loop that optimises nothing."""
from typing import Any, Iterable, Sequence, Union

import torch
from mmengine.dist import all_reduce
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmcausal.hooks.utils import unwrap
from mmcausal.models import NCMLinear, StageTwoClassifier
from mmcausal.registry import LOOPS


@LOOPS.register_module()
class ClassMeansLoop(EpochBasedTrainLoop):
    """One epoch, in which :class:`mmcausal.models.NCMLinear` gets the mean feature of each class; ranks are merged.

    Args:
        runner: The Runner, whose model is a :class:`mmcausal.models.StageTwoClassifier` with an ``NCMLinear`` as
            ``head.fc``.
        dataloader: Of the training images. Augmented images have other means: give it the test pipeline.
        **kwargs: ``val_begin``, ``val_interval`` and ``dynamic_intervals`` of MMEngine's ``EpochBasedTrainLoop``.

    Raises:
        ValueError: Another classifier or layer, or a class without an image.
    """

    def __init__(self, runner: Runner, dataloader: Union[DataLoader, dict], **kwargs: Any) -> None:
        super().__init__(runner, dataloader, max_epochs=1, **kwargs)
        self.model = unwrap(runner.model)
        if not isinstance(self.model, StageTwoClassifier) or not isinstance(self.model.head.fc, NCMLinear):
            raise ValueError('ClassMeansLoop needs an NCMLinear as head.fc of a StageTwoClassifier, got a '
                             f'{type(self.model.head.fc).__name__} of a {type(self.model).__name__}')

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Add a batch to the sums, and after the last one set the means."""
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        add_batch(self.model, self.model.head.fc, data_batch)
        if idx + 1 == len(self.dataloader):
            set_merged_means(self.model.head.fc)
        self.runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch, outputs={})
        self._iter += 1


def find_class_means(model: Any, layer: NCMLinear, dataloader: Iterable[Any]) -> None:
    """Give ``layer`` the mean feature of each class that a classifier of MMPretrain has for a dataloader's images.

    Raises:
        ValueError: A class without an image.
    """
    was_training = model.training
    model.eval()
    for batch in dataloader:
        add_batch(model, layer, batch)
    set_merged_means(layer)
    model.train(was_training)


@torch.no_grad()
def add_batch(model: Any, layer: NCMLinear, batch: Any) -> None:
    """Add the features of a batch to the sums of their classes."""
    data = model.data_preprocessor(batch, False)
    labels = torch.cat([sample.gt_label for sample in data['data_samples']])
    layer.add_samples(model.extract_feat(data['inputs'], stage='pre_logits'), labels)


def set_merged_means(layer: NCMLinear) -> None:
    """Make the means over the samples of all ranks the class weights."""
    all_reduce(layer.sums)
    all_reduce(layer.counts)
    layer.set_means()
