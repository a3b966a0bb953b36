"""Start and first gradient of the CIFAR heads, against numbers derived from the formulas of their sources."""
import math

import pytest
import torch
from helpers.commands import ROOT
from helpers.configs import load
from mmengine.registry import init_default_scope

from mmcausal.class_prior import TakesClassCounts, effective_number_weights
from mmcausal.registry import MODELS

# Images of each class, ratio 100
COUNTS = {'cifar100_lt': [int(500 * 0.01**(c / 99)) for c in range(100)],
          'cifar10_lt': [int(5000 * 0.01**(c / 9)) for c in range(10)]}
CHANNELS = 128  # of the last feature of ResNet-32


@pytest.fixture(autouse=True)
def default_scope():
    init_default_scope('mmpretrain')


def started_head(name, data='cifar100_lt'):
    """Return the head of a config at its start, with the class counts."""
    head = MODELS.build(load(ROOT / 'configs' / data / f'{name}_r32_ir100.py').model.head)
    head.init_weights()
    for module in head.modules():
        if isinstance(module, TakesClassCounts):
            module.set_class_counts(COUNTS[data])
    return head


def start_loss(head, feature, data='cifar100_lt'):
    """Return the loss over the training labels if each image had the same feature (D,)."""
    counts = torch.tensor(COUNTS[data])
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    return head.loss_module(head.fc(feature.expand(len(labels), -1)), labels, avg_factor=len(labels)).item()


def class_weights(beta, data='cifar100_lt'):
    """Return Cui et al.'s weight of each class; they have mean 1."""
    weights = [(1 - beta) / (1 - beta**n) for n in COUNTS[data]]
    return [len(weights) * w / sum(weights) for w in weights]


def mean_weight(beta, data='cifar100_lt'):
    """Return the mean over the images of Cui et al.'s class weights."""
    counts = COUNTS[data]
    return sum(n * w for n, w in zip(counts, class_weights(beta, data))) / sum(counts)


def focal_start(classes):
    """Return Cui et al.'s loss of one image whose classes all have the probability 1 / C, with gamma 1."""
    p = 1 / classes
    return (1 - p) * -math.log(p) + (classes - 1) * p * -math.log(1 - p)


@pytest.mark.parametrize('data, name, expected, pinned', [
    ('cifar100_lt', 'linear', math.log(100), 4.605),
    ('cifar100_lt', 'focal', focal_start(100), 4.569),
    ('cifar100_lt', 'class-balanced', mean_weight(0.9) * math.log(100), 3.844),
    ('cifar100_lt', 'class-balanced-focal', mean_weight(0.9) * focal_start(100), 3.814),
    ('cifar10_lt', 'linear', math.log(10), 2.303),
    ('cifar10_lt', 'focal', focal_start(10), 2.167),
    ('cifar10_lt', 'class-balanced', mean_weight(0.9999, 'cifar10_lt') * math.log(10), 0.394),
    ('cifar10_lt', 'class-balanced-focal', mean_weight(0.9999, 'cifar10_lt') * focal_start(10), 0.371),
])
def test_loss_of_a_network_that_knows_nothing(data, name, expected, pinned):
    head = started_head(name, data)
    if name in ('linear', 'class-balanced'):
        torch.nn.init.zeros_(head.fc.bias)
    assert expected == pytest.approx(pinned, abs=5e-4)
    assert start_loss(head, torch.zeros(CHANNELS), data) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize('data, pinned', [('cifar100_lt', 10.748), ('cifar10_lt', 8.065)])
def test_first_loss_of_ldam(data, pinned):
    """With all cosines 0, the true class is behind by the scaled margin 30 * 0.5 * (n_min / n)^(1/4)."""
    counts = COUNTS[data]
    margins = [15 * (counts[-1] / n)**0.25 for n in counts]
    losses = [math.log(len(counts) - 1 + math.exp(-margin)) + margin for margin in margins]
    expected = sum(n * loss for n, loss in zip(counts, losses)) / sum(counts)
    assert expected == pytest.approx(pinned, abs=5e-4)
    assert start_loss(started_head('ldam', data), torch.zeros(CHANNELS), data) == pytest.approx(expected, rel=1e-4)


def feature_gradients(head):
    """Return the first gradients (C, D) of features at 0, of one image of each class."""
    x = torch.zeros(head.num_classes, CHANNELS, requires_grad=True)
    head.loss_module(head.fc(x), torch.arange(head.num_classes), avg_factor=1).backward()
    return x.grad


def focal_logit_gradients(classes):
    """Return the derivatives of Cui et al.'s loss by the label's logit and another one, as in :func:`focal_start`."""
    p = 1 / classes
    return p * (1 - p) * math.log(p) - (1 - p)**2, p * p - p * (1 - p) * math.log(1 - p)


@pytest.mark.parametrize('data, classes, ratio, pinned', [('cifar100_lt', 100, 9.37, 1.087),
                                                          ('cifar10_lt', 10, 12.04, 1.388)])
@pytest.mark.parametrize('name', ['focal', 'class-balanced-focal'])
def test_first_gradient_of_the_focal_loss(name, data, classes, ratio, pinned):
    """Glorot's weights of standard deviation sqrt(2 / (D + C)) pass on a gradient that much larger than std 0.01's."""
    torch.manual_seed(0)
    head = started_head(name, data)
    std = math.sqrt(2 / (CHANNELS + classes))
    assert head.fc.weight.std().item() == pytest.approx(std, rel=0.03)
    assert std / 0.01 == pytest.approx(ratio, abs=5e-3)
    assert torch.equal(head.fc.bias, torch.full((classes, ), -math.log(classes - 1)))
    label, other = focal_logit_gradients(classes)
    # Of one image, whose class weights have lengths near std * sqrt(D) and are nearly orthogonal
    assert std * math.sqrt(CHANNELS * (label**2 + (classes - 1) * other**2)) == pytest.approx(pinned, abs=5e-4)
    weight = head.fc.weight.detach()
    expected = (label - other) * weight + other * weight.sum(0)
    assert expected.norm(dim=1).mean().item() == pytest.approx(pinned, rel=0.05)
    if name == 'class-balanced-focal':
        expected *= torch.tensor(class_weights(0.9 if data == 'cifar100_lt' else 0.9999, data))[:, None]
    glorot = feature_gradients(head)
    torch.testing.assert_close(glorot, expected)
    torch.nn.init.normal_(head.fc.weight, std=0.01)
    small = feature_gradients(head)
    assert (glorot.norm(dim=1).mean() / small.norm(dim=1).mean()).item() == pytest.approx(std / 0.01, rel=0.2)


def test_first_loss_and_gradient_of_oltrs_centroids():
    """With n images of a class, the pull on its centroid is over 1 + n and without the loss weight of 0.01.

    So it is 1 / (1 + 1) / 0.01 = 50 times that of the weighted loss if each class has one image. Unit vectors as
    centroids, and images on them, are sqrt(2) from the other 99 centroids: the hinge is at 10 - 99 * 2 / 100 = 8.02.
    """
    head = started_head('oltr')
    labels, centroids, on_their_centroids = torch.arange(100), head.memory.weight, torch.eye(100, CHANNELS)
    head.memory.add_samples(on_their_centroids, labels)
    head.memory.set_means()
    assert head.centroid_loss(on_their_centroids, labels).item() == pytest.approx(0.01 * 8.02, rel=1e-4)
    beside = 1.01 * on_their_centroids

    def along(loss):
        gradient, = torch.autograd.grad(loss, centroids)
        return (gradient * on_their_centroids).sum(1)

    pull = along(head.centroid_pull(beside, labels))
    attraction = along(head.centroid_weight * (beside - centroids).square().sum() / 2 / len(labels))
    torch.testing.assert_close(pull / attraction, torch.full((100, ), 50.))


@pytest.mark.parametrize('data', COUNTS)
def test_first_gradient_of_ldam(data):
    """Turning a class weight of length l takes a gradient 1 / l^2 as large, relative to the weight."""
    head = started_head('ldam', data)
    torch.testing.assert_close(head.fc.weight.norm(dim=1), torch.ones(head.num_classes))
    x, labels = torch.randn(400, CHANNELS), torch.randint(head.num_classes, (400, ))

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
    counts, classwise = COUNTS['cifar100_lt'], class_weights(beta)
    torch.testing.assert_close(effective_number_weights(counts, beta), torch.tensor(classwise, dtype=torch.float64))
    weights = [weight for weight, n in zip(classwise, counts) for _ in range(n)]
    assert sum(weights)**2 / sum(w * w for w in weights) / len(weights) == pytest.approx(images, abs=5e-3)
