"""Which images an epoch draws, by how often their class is in the training data."""
from typing import Any, Iterator, List, Optional

import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmcausal.checks import check_number
from mmcausal.class_prior import class_probabilities
from mmcausal.registry import DATA_SAMPLERS


def labels_of(dataset: Any) -> List[int]:
    """The one label of each image.

    Raises:
        ValueError: An image with another number of labels.
    """
    labels = [list(dataset.get_cat_ids(index)) for index in range(len(dataset))]
    for index, label in enumerate(labels):
        if len(label) != 1:
            raise ValueError(f'these samplers need one label for each image, and image {index} has {label}')
    return [label for label, in labels]


@DATA_SAMPLERS.register_module()
class ClassPowerSampler(Sampler):
    r"""Draw a class with probability :math:`\propto n_c^q`, then one of its images; both with replacement.

    (Kang et al., ICLR 2020, arXiv 1910.09217, Eq. 1.) An epoch has as many draws as the data set has images. All ranks
    draw from one seed and share the draws; an epoch's draws depend on seed and epoch alone, so that a resumed training
    goes on as it would have.

    Args:
        dataset: Each image has one label.
        power: q. 0 draws all classes equally often (class-aware sampling), 1/2 is square-root sampling, 1 draws the
            images as they come, -1 is the reversed sampling of BBN.
        seed: The same on all ranks; drawn, and shared, by default.

    Raises:
        ValueError: An image with several labels, or a class without an image.
    """

    def __init__(self, dataset: Any, power: float = 0., seed: Optional[int] = None) -> None:
        self.power = check_number('power', power, '(-inf, inf)')
        self.rank, self.world_size = get_dist_info()
        self.labels = torch.tensor(labels_of(dataset))
        self.class_counts = self.labels.bincount(minlength=len(dataset.metainfo.get('classes') or []))
        class_probabilities(self.class_counts, power)  # refuses a class without an image
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0

    def image_probabilities(self) -> torch.Tensor:
        """Probability of drawing each image in this epoch (N,)."""
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
    r"""From the images as they come to all classes equally often, in a straight line over the epochs.

    In epoch t of T, the class probability is :math:`(1 - t / T) p^{q = 1} + (t / T) p^{q = 0}` (Kang et al., Eq. 2).

    Args:
        dataset, seed: See :class:`ClassPowerSampler`.
        max_epochs: T.

    Raises:
        ValueError: As :class:`ClassPowerSampler`; no epoch.
    """

    def __init__(self, dataset: Any, max_epochs: int, seed: Optional[int] = None) -> None:
        super().__init__(dataset, power=0., seed=seed)
        self.max_epochs = check_number('max_epochs', max_epochs, '[1, inf)')

    def image_probabilities(self) -> torch.Tensor:
        progress = min(self.epoch / self.max_epochs, 1)
        classes = (1 - progress) * class_probabilities(self.class_counts, 1.) + progress * class_probabilities(
            self.class_counts, 0.)
        return (classes / self.class_counts)[self.labels]


@DATA_SAMPLERS.register_module()
class TwoBranchSampler(Sampler):
    """Images for the two branches of BBN in turns: one as they come, without replacement, one by reversed sampling.

    Args:
        dataset, seed: See :class:`ClassPowerSampler`.
    """

    def __init__(self, dataset: Any, seed: Optional[int] = None) -> None:
        seed = sync_random_seed() if seed is None else seed
        self.branches = DefaultSampler(dataset, shuffle=True, seed=seed), ClassPowerSampler(dataset, -1., seed)

    def __iter__(self) -> Iterator[int]:
        for pair in zip(*self.branches):
            yield from pair

    def __len__(self) -> int:
        return 2 * len(self.branches[1])

    def set_epoch(self, epoch: int) -> None:
        for branch in self.branches:
            branch.set_epoch(epoch)
