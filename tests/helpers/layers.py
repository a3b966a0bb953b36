"""Classifier layers with a head direction."""
import torch

from mmcausal.models import DeconfoundLinear


def trained_layer(**kwargs):
    """Return a layer of 8 channels and 6 classes after three updates of its direction."""
    layer = DeconfoundLinear(8, 6, **kwargs)
    for seed in range(3):
        torch.manual_seed(seed)
        layer(torch.randn(7, 8) + 1)
        layer.update_direction(0.9)
    return layer
