"""TDE for the linear and cosine classifiers of MMPretrain."""
import pytest
import torch
from helpers import oracle
from mmengine.registry import init_default_scope
from torch import nn

from mmcausal.models import enable_tde
from mmcausal.registry import MODELS


def arcface_model(**kwargs):
    init_default_scope('mmpretrain')
    model = nn.Module()
    model.head = MODELS.build(dict(type='ArcFaceClsHead', num_classes=6, in_channels=8, scale=20., **kwargs))
    return model.eval()


def test_tde_for_the_hosts_cosine_classifier():
    model, x, labels = arcface_model(), torch.randn(5, 8) + 1, torch.arange(5)
    head, weight = model.head, model.head.norm_product.weight
    before, with_margin = head((x, )), head((x, ), labels)
    layer = enable_tde(model, 0., 'head.norm_product')
    assert layer.weight is weight and 'head.norm_product.weight' in model.state_dict()
    torch.testing.assert_close(head((x, )), before)
    torch.testing.assert_close(head((x, ), labels), with_margin)

    layer.train()
    head((x, ), labels)  # as estimate_direction.py
    layer.eval().update_direction(0.)
    torch.testing.assert_close(layer.mean_feature, x.mean(0))
    assert enable_tde(model, 1.5, 'head.norm_product') is layer
    tau = 20.  # the head's scale
    expected = oracle.tde_logits(x.tolist(), weight.tolist(), x.mean(0).tolist(), 1.5, 1, tau, 0., 'cosine')
    torch.testing.assert_close(head((x, )), torch.tensor(expected), atol=1e-4, rtol=1e-5)
    labels_by_tde = [sample.pred_label for sample in head.predict((x, ))]
    assert torch.cat(labels_by_tde).tolist() == torch.tensor(expected).argmax(1).tolist()


def test_other_products_than_the_cosine_are_refused():
    with pytest.raises(ValueError, match="'head.norm_product' has k=3, feature_norm=True"):
        enable_tde(arcface_model(num_subcenters=3), 0.5, 'head.norm_product')
    model = arcface_model()
    model.head.norm_product.feature_norm = False
    with pytest.raises(ValueError, match='feature_norm=True and weight_norm=True, but .* feature_norm=False'):
        enable_tde(model, 0.5, 'head.norm_product')
