"""Random crops and flips of whole batches on the model's device, where a pipeline handles one image at a time."""
from typing import Dict, List, Union

import torch
from mmengine.dist import get_rank, get_world_size
from mmpretrain.models import ClsDataPreprocessor
from torch import Tensor
from torch.nn import functional as F

from mmcausal.checks import check_integer, check_number
from mmcausal.registry import MODELS


@MODELS.register_module()
class CropFlipDataPreprocessor(ClsDataPreprocessor):
    """Same as MMPretrain's ``ClsDataPreprocessor``, except that in training it first crops and flips images at random.

    The crops are those of ``RandomCrop(crop_size, padding=crop_padding)`` for images of that size, and the flips those
    of a horizontal ``RandomFlip(prob=flip_prob)``. Leave both out of your training pipeline. The random numbers are
    others: they come from PyTorch's generator on the device. Whatever reads training images for another purpose, such
    as class means, gets them as they are.

    Args:
        crop_padding: Zero padding on each side before the crop. 0 crops nothing.
        flip_prob: Probability of a flip.
        **kwargs: Arguments of ``ClsDataPreprocessor``. Its ``batch_augments`` follow.

    Raises:
        ValueError: Arguments out of range; in training, images of several sizes.

    Example:
        In a config::

            data_preprocessor = dict(type='mmcausal.CropFlipDataPreprocessor')
            train_dataloader = dict(dataset=dict(pipeline=[dict(type='PackInputs')]))
    """

    def __init__(self, crop_padding: int = 4, flip_prob: float = 0.5, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.crop_padding = check_integer('crop_padding', crop_padding, 0)
        self.flip_prob = check_number('flip_prob', flip_prob, '[0, 1]')

    def forward(self, data: Dict[str, Union[Tensor, List[Tensor]]], training: bool = False) -> dict:
        """Return the inputs (N, C, H, W) of the model and its data samples, for those of a data loader."""
        if training:
            images = self.cast_data(_stacked(data['inputs']))
            data = dict(data, inputs=self._cropped_and_flipped(images))
        return super().forward(data, training)

    def _cropped_and_flipped(self, images: Tensor) -> Tensor:
        number, channels, height, width = images.shape
        device = images.device
        # Ranks have the same seed, so each takes its part of what is drawn for all
        uniform = torch.rand(get_world_size(), 3, number, 1, 1, 1, device=device)[get_rank()]
        tops, lefts = (uniform[:2] * (2 * self.crop_padding + 1)).long()
        rows = tops + torch.arange(height, device=device)[:, None]
        columns = lefts + torch.arange(width, device=device)
        columns = torch.where(uniform[2] < self.flip_prob, columns.flip(-1), columns)
        padded = F.pad(images, [self.crop_padding] * 4)
        return padded[torch.arange(number, device=device)[:, None, None, None],
                      torch.arange(channels, device=device)[:, None, None], rows, columns]


def _stacked(images: Union[Tensor, List[Tensor]]) -> Tensor:
    """Return images as one tensor (N, C, H, W): one copy to a device is faster than one of each image."""
    if not isinstance(images, Tensor):
        sizes = sorted({tuple(image.shape) for image in images})
        if len(sizes) > 1:
            raise ValueError(f'CropFlipDataPreprocessor needs images of one size, but a batch has {sizes}; resize them '
                             'in the pipeline, or crop and flip there')
        images = torch.stack(list(images))
    return images
