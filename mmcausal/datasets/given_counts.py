"""Class counts of data, given to the modules of a model that take them."""
from typing import Callable, List, Sequence

from mmengine.dataset import BaseDataset
from torch import nn

from mmcausal.class_prior import TakesClassCounts
from mmcausal.datasets.class_counts import UncountableError, classes_of, drawn_class_counts, image_class_counts


def give_class_counts(modules: Sequence[TakesClassCounts], dataset: BaseDataset) -> None:
    """Count the images that a training on ``dataset`` draws, and call ``set_class_counts`` of modules with the result.

    See :func:`mmcausal.datasets.class_counts.drawn_class_counts`. For a module with ``counts_repeats = False``, an
    image that a wrapper repeats counts once. Data without labels to count may have the counts in
    ``metainfo['class_counts']``.

    Raises:
        ValueError: Data with neither; a module that needs images of all classes and a class without. The error names
            the class.
    """
    for of_draws in (True, False):
        takers = [module for module in modules if getattr(module, 'counts_repeats', True) == of_draws]
        if takers:
            set_counts(takers, _counts(dataset, drawn_class_counts if of_draws else image_class_counts), dataset)


def set_counts(modules: Sequence[TakesClassCounts], counts: List[int], dataset: BaseDataset) -> None:
    """Call ``set_class_counts`` of modules; an error names the classes without an image."""
    for module in modules:
        try:
            module.set_class_counts(counts)
        except ValueError as error:
            names = classes_of(dataset) or range(len(counts))
            empty = [str(name) for name, count in zip(names, counts) if not count]
            if not empty:
                raise
            raise ValueError(f'{type(module).__name__} cannot use the class counts of this {type(dataset).__name__}: '
                             f'{error}. Without a training image: {", ".join(empty)}') from error


def lacking_counts(model: nn.Module) -> List[TakesClassCounts]:
    """Return the modules that need class counts to infer and have none."""
    return [module for module in model.modules()
            if isinstance(module, TakesClassCounts) and getattr(module, 'lacks_class_counts', False)]


def give_missing_counts(model: nn.Module, dataset: BaseDataset) -> None:
    """Give the training counts in a dataset's ``metainfo`` to the modules that need them to infer and have none.

    Raises:
        ValueError: A dataset without these counts, or with a class that has none.
    """
    lacking = lacking_counts(model)
    if lacking:
        set_counts(lacking, _meta_counts(dataset), dataset)


def _counts(dataset: BaseDataset, count: Callable[[BaseDataset], List[int]]) -> List[int]:
    try:
        return count(dataset)
    except UncountableError:
        return _meta_counts(dataset)


def _meta_counts(dataset: BaseDataset) -> List[int]:
    metainfo = getattr(dataset, 'metainfo', {})
    counts = None if isinstance(metainfo, list) else metainfo.get('class_counts')
    if counts is None:
        raise ValueError("ClassPriorHook needs metainfo['class_counts'], the training images of each class, as in "
                         f"mmcausal's datasets, but {type(dataset).__name__} has none")
    return counts
