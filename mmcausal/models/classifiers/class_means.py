"""Mean feature of each class, in one pass over the training images."""
from typing import Iterable, Union

import torch
from mmpretrain.models import ImageClassifier
from torch import Tensor

from mmcausal.models.heads import CenteredHead
from mmcausal.models.layers import NCMLinear

Batch = Union[dict, tuple, list]


def find_class_means(model: ImageClassifier, layer: NCMLinear, dataloader: Iterable[Batch]) -> None:
    """Set the class weights of ``layer`` to the mean features that a classifier has for a dataloader's images.

    Raises:
        ValueError: A class without an image.
    """
    was_training = model.training
    model.eval()
    for batch in dataloader:
        add_batch(model, layer, batch)
    layer.set_means()
    model.train(was_training)


@torch.no_grad()
def find_center(model: ImageClassifier, head: CenteredHead, dataloader: Iterable[Batch]) -> None:
    """Set the centre of ``head`` to the mean feature over a dataloader; the mode of the classifier stays.

    Raises:
        ValueError: A dataloader without images.
    """
    for batch in dataloader:
        head.add_features(model.extract_feat(model.data_preprocessor(batch, False)['inputs'], stage='neck'))
    head.set_center()


@torch.no_grad()
def add_batch(model: ImageClassifier, layer: NCMLinear, batch: Batch) -> None:
    """Add the features of a batch to the sums of their classes."""
    data = model.data_preprocessor(batch, False)
    labels: Tensor = torch.cat([sample.gt_label for sample in data['data_samples']])
    layer.add_samples(model.extract_feat(data['inputs'], stage='pre_logits'), labels)
