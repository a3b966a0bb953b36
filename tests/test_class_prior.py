"""Formulas on class counts against loops over their definitions."""
import math

import pytest
import torch
from helpers.class_counts import COUNTS

from mmcausal import class_prior


def test_effective_number_is_the_sum_of_powers():
    beta = 0.9
    raw = [1 / sum(beta**i for i in range(n)) for n in COUNTS]
    expected = [4 * w / sum(raw) for w in raw]
    assert class_prior.effective_number_weights(COUNTS, beta).tolist() == pytest.approx(expected)
    assert class_prior.effective_number_weights(COUNTS, 0.).tolist() == [1, 1, 1, 1]
    # towards 1: inverse frequencies, without cancellation
    inverse = class_prior.effective_number_weights(COUNTS, 1 - 1e-12) * torch.tensor(COUNTS)
    assert inverse.tolist() == pytest.approx([inverse[0].item()] * 4, rel=1e-6)


def test_margins_smoothing_and_probabilities():
    margins = class_prior.ldam_margins(COUNTS, 0.5)
    assert margins.tolist() == pytest.approx([0.5 * (5 / n)**0.25 for n in COUNTS])
    smoothing = class_prior.label_aware_smoothing(COUNTS, 0.4, 0.1)
    assert smoothing.tolist() == pytest.approx([0.1 + 0.3 * math.sin(math.pi / 2 * (n - 5) / 495) for n in COUNTS])
    assert class_prior.label_aware_smoothing([7, 7], 0.4, 0.1).tolist() == [0.1, 0.1]
    for power in (1, 0.5, 0, -1):
        weights = [n**power for n in COUNTS]
        assert class_prior.class_probabilities(COUNTS, power).tolist() == pytest.approx(
            [w / sum(weights) for w in weights])
