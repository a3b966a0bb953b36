"""Random crops and flips of whole batches on the model's device, where a pipeline handles one image at a time."""
from typing import Dict, List, Union

import torch
from mmpretrain.models import ClsDataPreprocessor
from torch import Tensor
from torch.nn import functional as F

from mmcausal.checks import check_integer, check_number
from mmcausal.registry import MODELS


@MODELS.register_module()
class CropFlipDataPreprocessor(ClsDataPreprocessor):
    """Same as MMPretrain's ``ClsDataPreprocessor``, except that in training it first crops and flips images at random.

    The crops are those of ``RandomCrop(crop_size, padding=crop_padding)`` for images of that size, and the flips those
    of a horizontal ``RandomFlip(prob=flip_prob)``. Leave both out of your training pipeline. Only the random numbers
    differ: they are of PyTorch's generator on the device.

    Args:
        crop_padding: Black pixels on each side, of which a crop of the image's size takes a part. 0 crops nothing.
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
        number, _, height, width = images.shape
        padded = F.pad(images, [self.crop_padding] * 4)
        rows, columns = (self._offsets(images) + torch.arange(size, device=images.device) for size in (height, width))
        is_flipped = torch.rand(number, 1, device=images.device) < self.flip_prob
        columns = torch.where(is_flipped, columns.flip(1), columns)
        samples = torch.arange(number, device=images.device)
        crops = padded[samples[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
        return crops.permute(0, 3, 1, 2)

    def _offsets(self, images: Tensor) -> Tensor:
        return torch.randint(2 * self.crop_padding + 1, (len(images), 1), device=images.device)


def _stacked(images: Union[Tensor, List[Tensor]]) -> Tensor:
    """Return images as one tensor (N, C, H, W): one copy to a device is faster than one of each image."""
    if not isinstance(images, Tensor):
        sizes = sorted({tuple(image.shape) for image in images})
        if len(sizes) > 1:
            raise ValueError(f'CropFlipDataPreprocessor needs images of one size, but a batch has {sizes}; resize them '
                             'in the pipeline, or crop and flip there')
        images = torch.stack(list(images))
    return images
