r"""Quantities derived from class counts, for samplers, losses and classifiers. Only PyTorch is needed.

Shapes::

    counts  (C,)  training samples of each class, n_c, all at least 1

Formulas that divide by a class count, or take its logarithm, are undefined for a class without a training sample.
:func:`check_class_counts` refuses such classes by name.
"""
import math
from typing import Optional, Protocol, Sequence, Union, runtime_checkable

import torch
from torch import Tensor

from mmcausal.checks import check_number, is_number

__all__ = [
    'TakesClassCounts', 'check_class_counts', 'class_probabilities', 'effective_number_weights',
    'label_aware_smoothing', 'ldam_margins', 'log_prior'
]

Counts = Union[Sequence[int], Tensor]


@runtime_checkable
class TakesClassCounts(Protocol):
    """A module that needs the class counts of the training data, such as a loss with a class prior.

    :class:`mmcausal.hooks.ClassPriorHook` looks for this method; loops of your own call it before training. A module
    may also have two attributes: ``counts_repeats = False`` if an image that a wrapper repeats counts once, and
    ``lacks_class_counts``, whether it still needs counts to infer.
    """

    def set_class_counts(self, class_counts: Counts) -> None:
        """Set the training samples of each of the C classes."""


def missing_class_counts(module: object) -> RuntimeError:
    """Return the error of a :class:`TakesClassCounts` that is used before it got its counts."""
    return RuntimeError(f'{type(module).__name__} needs the training images of each class: add '
                        "custom_hooks=[dict(type='mmcausal.ClassPriorHook')], or call set_class_counts")


def check_class_counts(counts: Counts, num_classes: Optional[int] = None, fewest: int = 1) -> Tensor:
    """Return the counts as a float64 tensor (C,).

    Args:
        counts: Counts to check, at least one.
        num_classes: C, by default any.
        fewest: Fewest samples of a class: 1, or 0 to allow classes without.

    Raises:
        ValueError: Counts that are not a finite number for each class, another number of classes than ``num_classes``,
            or a class with fewer samples.
    """
    values = counts.tolist() if hasattr(counts, 'tolist') else counts
    if not isinstance(values, (list, tuple)) or not values or not all(map(is_number, values)):
        raise ValueError(f'class counts must be one finite number for each class, but got {counts!r}')
    if num_classes not in (None, len(values)):
        raise ValueError(f'class counts must be one number for each of {num_classes} classes, but got {len(values)}')
    lacking = [label for label, count in enumerate(values) if count < fewest]
    if lacking and fewest:
        raise ValueError(f'every class needs a training sample, but {len(lacking)} of {len(values)} classes have none, '
                         f'e.g. class {lacking[0]} with count {values[lacking[0]]:g}')
    if lacking:
        raise ValueError(f'class counts must not be negative, but class {lacking[0]} has {values[lacking[0]]:g}')
    return torch.tensor(values, dtype=torch.float64)


def log_prior(counts: Counts) -> Tensor:
    r"""Return the logarithm of the class prior :math:`n_c / \sum_k n_k` (C,).

    Raises:
        ValueError: Counts that :func:`check_class_counts` refuses, as all functions below.

    >>> log_prior([2, 2]).exp()
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    return check_class_counts(counts).log().log_softmax(-1)


def class_probabilities(counts: Counts, power: float) -> Tensor:
    r"""Return the probability :math:`p_c \propto n_c^q` of drawing class c, q = ``power`` (Kang et al., ICLR 2020).

    q = 1 draws images as they come, 1/2 is square-root sampling, 0 draws all classes equally often, and -1 is the
    reversed sampling of BBN.

    >>> class_probabilities([1, 9], power=0.5)
    tensor([0.2500, 0.7500], dtype=torch.float64)
    """
    return (check_class_counts(counts).log() * check_number('power', power, '(-inf, inf)')).softmax(-1)


def effective_number_weights(counts: Counts, beta: float) -> Tensor:
    r"""Return class weights (C,) with mean 1, inverse to the effective number of samples.

    .. math:: w_c \propto \frac{1 - \beta}{1 - \beta^{n_c}}

    (Cui et al., CVPR 2019, arXiv 1901.05555). ``beta = 0`` weighs all classes equally; towards 1 the weights approach
    :math:`1 / n_c`.

    Raises:
        ValueError: ``beta`` outside [0, 1).

    >>> effective_number_weights([10, 1], beta=0.5)
    tensor([0.6671, 1.3329], dtype=torch.float64)
    """
    counts, beta = check_class_counts(counts), check_number('beta', beta, '[0, 1)')
    # 1 - beta^n without cancellation where beta is close to 1
    effective = -torch.expm1(counts * math.log(beta)) if beta else torch.ones_like(counts)
    return len(counts) / effective / (1 / effective).sum()


def ldam_margins(counts: Counts, max_margin: float) -> Tensor:
    r"""Return label-distribution-aware margins (C,), proportional to :math:`n_c^{-1/4}` and at most ``max_margin``.

    (Cao et al., NeurIPS 2019, arXiv 1906.07413.)

    >>> ldam_margins([16, 1], max_margin=0.5)
    tensor([0.2500, 0.5000], dtype=torch.float64)
    """
    counts, max_margin = check_class_counts(counts), check_number('max_margin', max_margin, '[0, inf)')
    return max_margin * (counts.min() / counts)**0.25


def label_aware_smoothing(counts: Counts, head: float, tail: float) -> Tensor:
    r"""Return label smoothing (C,): ``tail`` for the rarest class, ``head`` for the most frequent, concave between.

    .. math:: \epsilon_c = \epsilon_{tail} + (\epsilon_{head} - \epsilon_{tail})
              \sin \frac{\pi (n_c - n_{min})}{2 (n_{max} - n_{min})}

    (Zhong et al., CVPR 2021, MiSLAS, arXiv 2104.00466, the concave form.) Where all counts are equal, all classes are
    the rarest.

    Raises:
        ValueError: A smoothing outside [0, 1), or a tail smoothed more than the head.

    >>> label_aware_smoothing([9, 5, 1], head=0.4, tail=0.1)
    tensor([0.4000, 0.3121, 0.1000], dtype=torch.float64)
    """
    counts = check_class_counts(counts)
    head, tail = (check_number(name, value, '[0, 1)') for name, value in (('head', head), ('tail', tail)))
    if tail > head:
        raise ValueError(f'tail must not be smoothed more than head, but got tail={tail}, head={head}')
    span = (counts.max() - counts.min()).clamp(min=1)
    return tail + (head - tail) * torch.sin((counts - counts.min()) / span * math.pi / 2)
