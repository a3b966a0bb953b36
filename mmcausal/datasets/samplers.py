"""Samplers that draw training images by the frequency of their class."""
from typing import Iterator, List, Optional

import torch
from mmengine.dataset import BaseDataset, DefaultSampler
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmcausal.checks import check_number, check_seed
from mmcausal.class_prior import class_probabilities
from mmcausal.datasets.class_counts import checked_labels, classes_of, image_labels
from mmcausal.registry import DATA_SAMPLERS


def labels_of(dataset: BaseDataset) -> List[int]:
    """Return the label of each image (N,).

    Raises:
        ValueError: No image, or one with another number of labels.
    """
    labels = [image_labels(dataset, index) for index in range(len(dataset))]
    if not labels:
        raise ValueError(f'class-based samplers need images, but this {type(dataset).__name__} has none')
    for index, label in enumerate(labels):
        if len(label) != 1:
            raise ValueError(f'class-based samplers need one label for each image, but image {index} has {label}')
    return [label for label, in labels]


@DATA_SAMPLERS.register_module()
class ClassPowerSampler(Sampler):
    r"""Draw a class with probability :math:`\propto n_c^q`, then one of its images; both with replacement.

    (Kang et al., ICLR 2020, arXiv 1910.09217, Eq. 1.) An epoch draws as many images as the dataset has. All ranks use
    one seed and share the draws. Draws depend only on seed and epoch, so resumed training is reproducible.

    Args:
        dataset: Dataset with one label per image.
        power: Exponent q. 0 draws all classes equally often (class-aware sampling), 1/2 is square-root sampling, 1
            draws all images equally often, and -1 is the reversed sampling of BBN.
        seed: Seed, the same on all ranks. By default a random one that the ranks share.

    Raises:
        ValueError: An image with several labels, or a class without an image; arguments out of range.
    """

    def __init__(self, dataset: BaseDataset, power: float = 0., seed: Optional[int] = None) -> None:
        self.power = check_number('power', power, '(-inf, inf)')
        self.rank, self.world_size = get_dist_info()
        labels, classes = labels_of(dataset), classes_of(dataset)
        num_classes = max(labels) + 1 if classes is None else len(classes)
        self.labels = torch.from_numpy(checked_labels(labels, num_classes))
        self.class_counts = self.labels.bincount(minlength=num_classes)
        class_probabilities(self.class_counts, power)  # refuses a class without an image
        self.seed = sync_random_seed() if seed is None else check_seed(seed)
        self.epoch = 0

    def image_probabilities(self) -> torch.Tensor:
        """Return the probability (N,) of drawing each image in this epoch."""
        return (class_probabilities(self.class_counts, self.power) / self.class_counts)[self.labels]

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator()
        generator.manual_seed(self.seed + self.epoch)
        total = len(self) * self.world_size
        drawn = torch.multinomial(self.image_probabilities(), total, replacement=True, generator=generator)
        return iter(drawn[self.rank::self.world_size].tolist())

    def __len__(self) -> int:
        return -(-len(self.labels) // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


@DATA_SAMPLERS.register_module()
class ProgressivelyBalancedSampler(ClassPowerSampler):
    r"""Move linearly over the epochs from drawing all images equally often to drawing all classes equally often.

    In epoch t of T, the class probability is :math:`(1 - t / T) p^{q = 1} + (t / T) p^{q = 0}` (Kang et al., Eq. 2).

    Args:
        dataset, seed: See :class:`ClassPowerSampler`.
        max_epochs: Length T of the schedule, at least 1.

    Raises:
        ValueError: As in :class:`ClassPowerSampler`, or ``max_epochs`` out of range.
    """

    def __init__(self, dataset: BaseDataset, max_epochs: int, seed: Optional[int] = None) -> None:
        super().__init__(dataset, power=0., seed=seed)
        self.max_epochs = check_number('max_epochs', max_epochs, '[1, inf)')

    def image_probabilities(self) -> torch.Tensor:
        progress = min(self.epoch / self.max_epochs, 1)
        classes = (1 - progress) * class_probabilities(self.class_counts, 1.) + progress * class_probabilities(
            self.class_counts, 0.)
        return (classes / self.class_counts)[self.labels]


@DATA_SAMPLERS.register_module()
class TwoBranchSampler(Sampler):
    """Alternate uniform draws, without replacement, and reversed sampling, for BBN (Zhou et al., CVPR 2020).

    Args:
        dataset, seed: See :class:`ClassPowerSampler`.
    """

    def __init__(self, dataset: BaseDataset, seed: Optional[int] = None) -> None:
        seed = sync_random_seed() if seed is None else check_seed(seed)
        self.branches = DefaultSampler(dataset, shuffle=True, seed=seed), ClassPowerSampler(dataset, -1., seed)

    @property
    def seed(self) -> int:
        """Seed of both branches."""
        return self.branches[1].seed

    @seed.setter
    def seed(self, seed: int) -> None:
        for branch in self.branches:
            branch.seed = seed

    def __iter__(self) -> Iterator[int]:
        for pair in zip(*self.branches):
            yield from pair

    def __len__(self) -> int:
        return 2 * len(self.branches[1])

    def set_epoch(self, epoch: int) -> None:
        for branch in self.branches:
            branch.set_epoch(epoch)
