"""Grad-CAM of total effect and TDE, for convolutional networks and transformers."""
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from helpers.commands import IMAGENET_LT, ROOT
from helpers.runners import save_untrained_resnet10
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcausal.registry import MODELS
from mmcausal.visualization import (
    draw_grad_cams,
    example_indices,
    grad_cam_pictures,
    grad_cams,
    image_to_show,
    to_image,
)

COUNTS = [500, 200, 50, 5]


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
    """The same images as test-time augmentation returns them."""

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
        parameter.grad = gradient.clone()  # accumulated before the validation
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
        assert 'it needs grad-cam. Run: pip install' in pictures(convolutional)
    other = torch.nn.Module()
    other.data_preprocessor, other.head = convolutional.data_preprocessor, convolutional.head
    assert 'needs an ImageClassifier of MMPretrain, but got Module' in pictures(other)
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


@pytest.fixture
def checkpoint(tmp_path):
    """An untrained ResNet-10 with a head direction."""
    return save_untrained_resnet10(tmp_path / 'r10.pth')


def test_heat_maps_are_of_the_classes_predicted(checkpoint):
    from mmcausal.visualization import grad_cams
    model = MODELS.build(Config.fromfile(ROOT / IMAGENET_LT).model)
    model.load_state_dict(torch.load(checkpoint, map_location='cpu', weights_only=False)['state_dict'], strict=False)
    image, layer = torch.randn(3, 64, 64), model.eval().head.fc
    maps = grad_cams(model, layer, image, {'total effect': 0., 'TDE': 2.})
    assert layer.alpha == 3
    for name, alpha in (('total effect', 0.), ('TDE', 2.)):
        layer.alpha = alpha
        label, heat = maps[name]
        assert label == int(model(image[None], mode='tensor').argmax())
        assert heat.shape == (64, 64) and 0 <= heat.min() and heat.max() <= 1
