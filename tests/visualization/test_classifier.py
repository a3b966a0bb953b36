"""All plots of a classifier are drawn, with and without a head direction."""
import numpy as np
import pytest
import torch

from mmcausal.evaluation import named_groups, shot_groups
from mmcausal.models import DeconfoundLinear
from mmcausal.visualization import classifier_pictures, to_image

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


def test_groups_of_the_user(trained):
    """Their names have no colour of their own, and a class may be in no group."""
    layer, features, labels = trained
    for figure in classifier_pictures(layer, features, labels, COUNTS, named_groups(dict(pets=[0], farm=[2, 3]),
                                                                                   range(4))).values():
        assert to_image(figure).std() > 1


def test_without_alpha_there_is_no_second_panel(trained):
    layer, features, labels = trained
    pictures = classifier_pictures(layer, features, labels, COUNTS, GROUPS, alpha=0.)
    legend = [text.get_text() for text in pictures['class_accuracy'].axes[0].get_legend().get_texts()]
    assert len(pictures['confusion'].axes) == 1 and 'total effect' in legend and 'TDE' not in legend


def test_without_direction_there_are_no_pictures_of_it(trained):
    _, features, labels = trained
    assert not WITH_DIRECTION & classifier_pictures(DeconfoundLinear(8, 4), features, labels, COUNTS, GROUPS).keys()


def test_classes_and_groups_without_images(trained):
    layer, features, labels = trained
    seen = labels < 2
    for figure in classifier_pictures(layer, features[seen], labels[seen], COUNTS, GROUPS).values():
        to_image(figure)
