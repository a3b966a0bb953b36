"""Start and first gradient of the CIFAR heads, against numbers derived from the formulas of their sources."""
import math

import pytest
import torch
from helpers.commands import ROOT
from helpers.configs import load
from mmengine.registry import init_default_scope

from mmcausal.class_prior import TakesClassCounts, effective_number_weights
from mmcausal.registry import MODELS

COUNTS = [int(500 * 0.01**(c / 99)) for c in range(100)]  # CIFAR-100-LT, ratio 100
CHANNELS = 128  # of the last feature of ResNet-32


@pytest.fixture(autouse=True)
def default_scope():
    init_default_scope('mmpretrain')


def started_head(name):
    """Return the head of a config at its start, with the class counts."""
    head = MODELS.build(load(ROOT / 'configs' / 'cifar100_lt' / f'{name}_r32_ir100.py').model.head)
    head.init_weights()
    for module in head.modules():
        if isinstance(module, TakesClassCounts):
            module.set_class_counts(COUNTS)
    return head


def start_loss(head, feature):
    """Return the loss over the training labels if each image had the same feature (D,)."""
    labels = torch.arange(100).repeat_interleave(torch.tensor(COUNTS))
    return head.loss_module(head.fc(feature.expand(len(labels), -1)), labels, avg_factor=len(labels)).item()


def mean_weight(beta):
    """Return the mean over the images of Cui et al.'s class weights, which have mean 1 over the classes."""
    weights = [(1 - beta) / (1 - beta**n) for n in COUNTS]
    scale = len(weights) / sum(weights)
    return scale * sum(n * w for n, w in zip(COUNTS, weights)) / sum(COUNTS)


def focal_start():
    """Return Cui et al.'s loss of one image whose classes all have the probability 1 / C, with gamma 1."""
    p = 1 / 100
    return (1 - p) * -math.log(p) + 99 * p * -math.log(1 - p)


@pytest.mark.parametrize('name, expected, pinned', [
    ('linear', math.log(100), 4.605),
    ('focal', focal_start(), 4.569),
    ('class-balanced', mean_weight(0.9) * math.log(100), 3.844),
    ('class-balanced-focal', mean_weight(0.9) * focal_start(), 3.814),
])
def test_loss_of_a_network_that_knows_nothing(name, expected, pinned):
    head = started_head(name)
    if name in ('linear', 'class-balanced'):
        torch.nn.init.zeros_(head.fc.bias)
    assert expected == pytest.approx(pinned, abs=5e-4)
    assert start_loss(head, torch.zeros(CHANNELS)) == pytest.approx(expected, rel=1e-4)


def test_first_loss_of_ldam():
    """With all cosines 0, the true class is behind by the scaled margin 30 * 0.5 * (n_min / n)^(1/4)."""
    margins = [15 * (COUNTS[-1] / n)**0.25 for n in COUNTS]
    losses = [math.log(99 + math.exp(-margin)) + margin for margin in margins]
    expected = sum(n * loss for n, loss in zip(COUNTS, losses)) / sum(COUNTS)
    assert expected == pytest.approx(10.748, abs=5e-4)
    assert start_loss(started_head('ldam'), torch.zeros(CHANNELS)) == pytest.approx(expected, rel=1e-4)


def feature_gradient(head):
    """Return the length of the first gradient of one image's feature, on average."""
    x = torch.randn(400, CHANNELS, requires_grad=True)
    head.loss_module(head.fc(x), torch.randint(100, (400, )), avg_factor=400).backward()
    return 400 * x.grad.norm(dim=1).mean().item()


def test_first_gradient_of_the_focal_loss():
    """Glorot's weights of standard deviation sqrt(2 / (D + C)) pass on a gradient that much larger than std 0.01's."""
    head = started_head('focal')
    std = math.sqrt(2 / (CHANNELS + 100))
    assert head.fc.weight.std().item() == pytest.approx(std, rel=0.03)
    assert std / 0.01 == pytest.approx(9.37, abs=5e-3)
    assert torch.equal(head.fc.bias, torch.full((100, ), -math.log(99)))
    glorot = feature_gradient(head)
    torch.nn.init.normal_(head.fc.weight, std=0.01)
    assert glorot / feature_gradient(head) == pytest.approx(std / 0.01, rel=0.2)


def test_first_gradient_of_ldam():
    """Turning a class weight of length l takes a gradient 1 / l^2 as large, relative to the weight."""
    head = started_head('ldam')
    torch.testing.assert_close(head.fc.weight.norm(dim=1), torch.ones(100))
    x, labels = torch.randn(400, CHANNELS), torch.randint(100, (400, ))

    def relative_step():
        head.fc.weight.grad = None
        head.loss_module(head.fc(x), labels, avg_factor=400).backward()
        return (head.fc.weight.grad.norm(dim=1) / head.fc.weight.detach().norm(dim=1)).mean().item()

    unit = relative_step()
    head.fc.weight.data /= math.sqrt(3)  # the length of PyTorch's start
    assert relative_step() / unit == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize('beta, mean, images', [(0.9, 0.835, 0.99), (0.9999, 0.203, 0.20)])
def test_class_balanced_weights_by_hand(beta, mean, images):
    """With 0.9999, the gradient is as noisy as the plain gradient of a fifth of the images."""
    assert mean_weight(beta) == pytest.approx(mean, abs=5e-4)
    classwise = [(1 - beta) / (1 - beta**n) for n in COUNTS]
    scaled = torch.tensor(classwise, dtype=torch.float64) * 100 / sum(classwise)
    torch.testing.assert_close(effective_number_weights(COUNTS, beta), scaled)
    weights = [weight for weight, n in zip(classwise, COUNTS) for _ in range(n)]
    assert sum(weights)**2 / sum(w * w for w in weights) / len(weights) == pytest.approx(images, abs=5e-3)
