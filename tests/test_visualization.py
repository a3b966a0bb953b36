"""Pictures: the figures behind them by value, and that they can be drawn; what they look like is for eyes."""
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from mmcausal.evaluation import shot_groups
from mmcausal.models import DeconfoundLinear
from mmcausal.registry import MODELS
from mmcausal.visualization import (
    calibration_errors,
    classifier_pictures,
    draw_class_accuracy,
    draw_grad_cams,
    example_indices,
    grad_cam_pictures,
    grad_cams,
    image_to_show,
    paper_figure,
    shot_confusion,
    to_image,
)
from mmcausal.visualization.features import draw_decomposition, head_cosines

COUNTS = [500, 200, 50, 5]
GROUPS = shot_groups(COUNTS)
WITH_DIRECTION = {'direction_cosines', 'decomposition'}


@pytest.fixture
def trained():
    layer = DeconfoundLinear(8, 4, alpha=1.)
    features, labels = torch.randn(60, 8) + 1, np.arange(60) % 4
    layer(features)
    layer.update_direction(0.)
    return layer, features.detach().numpy(), labels


def test_all_pictures_are_drawn(trained):
    layer, features, labels = trained
    pictures = classifier_pictures(layer, features, labels, COUNTS, GROUPS)
    assert WITH_DIRECTION < pictures.keys() and len(pictures) == 7
    for figure in pictures.values():
        image = to_image(figure)
        assert image.dtype == np.uint8 and image.shape[2] == 3 and image.std() > 1
    assert layer.alpha == 1 and layer.training


def test_without_alpha_there_is_no_second_panel(trained):
    layer, features, labels = trained
    pictures = classifier_pictures(layer, features, labels, COUNTS, GROUPS, alpha=0.)
    assert [len(pictures['confusion'].axes), len(pictures['class_accuracy'].axes[0].lines)] == [1, 2]


def test_untested_classes_are_left_out_of_the_moving_average():
    """40 classes, so the line averages two; one in two of them was never tested."""
    labels = np.arange(0, 40, 2)
    _, axes = paper_figure()
    draw_class_accuracy(axes, labels, dict(right=labels), np.arange(40, 0, -1))
    assert axes.lines[1].get_ydata().tolist() == pytest.approx([100.] * 39)


def test_without_direction_there_are_no_pictures_of_it(trained):
    _, features, labels = trained
    assert not WITH_DIRECTION & classifier_pictures(DeconfoundLinear(8, 4), features, labels, COUNTS, GROUPS).keys()


def test_classes_and_groups_without_images(trained):
    layer, features, labels = trained
    seen = labels < 2
    for figure in classifier_pictures(layer, features[seen], labels[seen], COUNTS, GROUPS).values():
        to_image(figure)


def test_confusion_by_hand():
    labels = np.array([0, 0, 0, 0, 3, 3])
    predictions = np.array([0, 1, 2, 3, 0, 0])
    assert shot_confusion(labels, predictions, GROUPS).tolist() == [[25, 25, 25, 25], [0, 0, 0, 0], [0, 100, 0, 0]]


def test_calibration_error_against_a_loop():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(4), 400).astype(np.float32)
    labels = rng.integers(0, 4, 400)
    for name, error in calibration_errors(probs, labels, GROUPS).items():
        members = GROUPS[name][labels]
        confidence, correct = probs[members].max(1), probs[members].argmax(1) == labels[members]
        expected = 0.
        for low in np.arange(15) / 15:
            inside = (confidence > low) & (confidence <= low + 1 / 15)
            if inside.any():
                expected += 100 * inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
        assert error == pytest.approx(expected, abs=1e-3)


def test_decomposition_by_hand():
    """One head: features of lengths 2 and 4 at 60 degrees from the direction are 1 and 2 along it."""
    features, mean = np.array([[1., 3**0.5], [2., 2 * 3**0.5]]), np.array([5., 0.])
    assert head_cosines(features, mean, 1) == pytest.approx([0.5, 0.5])
    _, axes = paper_figure()
    draw_decomposition(axes, features, np.array([0, 0]), mean, 1, shot_groups([500]))
    (along, ), (rest, ) = axes.lines[0].get_data()
    assert (along, rest) == pytest.approx((1.5, 1.5 * 3**0.5))


def build_classifier(backbone, in_channels, neck=None):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    head = dict(type='mmcausal.DeconfoundHead', num_classes=4, in_channels=in_channels, alpha=2.)
    classifier = MODELS.build(dict(type='ImageClassifier', backbone=backbone, neck=neck, head=head,
                                   data_preprocessor=dict(mean=[127.5], std=[127.5])))
    classifier.head.fc.mean_feature.normal_()
    return classifier


@pytest.fixture
def convolutional():
    return build_classifier(dict(type='mmcausal.SmallConvNet', in_channels=1), 256,
                            neck=dict(type='GlobalAveragePooling'))


def transformer(out_type='cls_token', **kwargs):
    """One patch a pixel, so that a heat map has the size of the map it comes from."""
    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16)
    backbone = dict(type='VisionTransformer', arch=arch, img_size=(4, 6), patch_size=1, out_type=out_type, **kwargs)
    neck = dict(type='GlobalAveragePooling') if out_type == 'featmap' else None
    return build_classifier(backbone, 8, neck=neck)


class Images:
    """Six grey images of three classes."""
    metainfo = dict(classes=('ape', 'bee', 'cat', 'dog'))
    labels = np.array([3, 0, 3, 1, 0, 3])

    def __getitem__(self, index):
        pixels = torch.arange(64, dtype=torch.uint8).view(1, 8, 8) * (index % 4)
        return dict(inputs=pixels, data_samples=SimpleNamespace(gt_label=torch.tensor([self.labels[index]])))


class Views(Images):
    """The same as test-time augmentation makes them."""

    def __getitem__(self, index):
        return {key: [value, None] for key, value in super().__getitem__(index).items()}


def test_examples_are_the_first_images_of_frequent_and_rare_classes():
    labels = np.array([3, 0, 3, 1, 4, 0, 2, 2])
    assert example_indices(labels, np.array([50, 40, 30, 20, 10, 60])) == [1, 3, 0, 4]  # nothing of class 5 is tested
    assert example_indices(Images.labels, COUNTS) == [1, 3, 0]
    assert example_indices(np.array([2, 2]), COUNTS) == [0]


@pytest.mark.parametrize('dataset', [Images(), Views()])
def test_grad_cam_of_total_effect_and_tde_in_a_figure(convolutional, dataset):
    layer = convolutional.head.fc
    gradients = [torch.ones_like(parameter) for parameter in convolutional.parameters()]
    for parameter, gradient in zip(convolutional.parameters(), gradients):
        parameter.grad = gradient.clone()  # of an accumulation that a validation interrupts
    with torch.no_grad():
        figure, = grad_cam_pictures(convolutional, layer, dataset, Images.labels, COUNTS).values()
    assert layer.alpha == 2 and convolutional.training and not layer.observed.any()
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(convolutional.parameters(), gradients))
    titles = [axes.get_title() for axes in figure.axes]
    assert [title.split('\n')[0] for title in titles] == ['ape', 'bee', 'dog'] * 2
    assert ['total effect' in title for title in titles] == [True] * 3 + [False] * 3
    assert to_image(figure).std() > 1
    assert len(draw_grad_cams(convolutional, layer, dataset, [5], alpha=0.).axes) == 1


def test_without_grad_cam_there_is_a_line_in_the_log(convolutional):
    def pictures(classifier):
        with mock.patch('mmcausal.visualization.grad_cam.print_log') as log:
            assert grad_cam_pictures(classifier, classifier.head.fc, Images(), Images.labels, COUNTS) == {}
        return log.call_args.args[0]

    with mock.patch('mmcausal.visualization.grad_cam.is_installed', lambda package: False):
        assert 'it needs grad-cam, pip install' in pictures(convolutional)
    other = torch.nn.Module()
    other.data_preprocessor, other.head = convolutional.data_preprocessor, convolutional.head
    assert 'needs an ImageClassifier of MMPretrain, but got a Module' in pictures(other)
    convolutional.backbone.forward = lambda images: (images.flatten(1), )
    assert 'got one of shape (1, 64)' in pictures(convolutional)


def heat_by_hand(activation, gradient):
    """Selvaraju et al., ICCV 2017, Eq. 1 and 2: maps (channels, H, W), scaled to [0, 1]."""
    heat = (gradient.mean((1, 2))[:, None, None] * activation).sum(0).clamp(min=0).detach().numpy()
    heat = heat - heat.min()
    return heat / (heat.max() + 1e-7)


@pytest.mark.parametrize('out_type, with_cls_token', [('cls_token', True), ('avg_featmap', True),
                                                      ('avg_featmap', False)])
def test_heat_maps_of_a_transformer_by_hand(out_type, with_cls_token):
    classifier = transformer(out_type, with_cls_token=with_cls_token).eval()
    image, layer = torch.randn(3, 4, 6), classifier.head.fc
    kept = []
    classifier.backbone.layers[-1].ln1.register_forward_hook(lambda module, args, output: kept.append(output))
    maps = grad_cams(classifier, layer, image, {'total effect': 0., 'TDE': 2.})
    kept.clear()
    for name, alpha in (('total effect', 0.), ('TDE', 2.)):
        layer.alpha = alpha
        logits = classifier(image[None])[0]
        tokens = kept.pop()
        gradient, = torch.autograd.grad(logits.max(), tokens)
        patches = [value[0, int(with_cls_token):].T.reshape(8, 4, 6) for value in (tokens, gradient)]
        label, heat = maps[name]
        assert label == int(logits.argmax())
        assert heat == pytest.approx(heat_by_hand(*patches), abs=1e-5) and heat.max() > 0.99


@pytest.mark.parametrize('out_type', ['cls_token', 'featmap'])
def test_heat_maps_of_frozen_networks(out_type):
    classifier, image = transformer(out_type).eval(), torch.randn(3, 4, 6)
    before, = grad_cams(classifier, classifier.head.fc, image, dict(tde=2.)).values()
    classifier.backbone.requires_grad_(False)
    frozen, = grad_cams(classifier, classifier.head.fc, image, dict(tde=2.)).values()
    assert before[0] == frozen[0] and np.array_equal(before[1], frozen[1]) and before[1].any()


def test_images_are_shown_in_rgb(convolutional):
    pixels = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
    assert image_to_show(convolutional, pixels)[0, 1].tolist() == [1, 5, 9]
    convolutional.data_preprocessor.to_rgb = True
    assert image_to_show(convolutional, pixels)[0, 1].tolist() == [9, 5, 1]
    assert image_to_show(convolutional, pixels[:1])[0, 1].tolist() == [1, 1, 1]
