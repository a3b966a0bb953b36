"""Losses on class counts, and a batch for them."""
import torch

from mmcausal.registry import MODELS

COUNTS = [500, 100, 20, 5]


def built(name, counts=COUNTS, **kwargs):
    """Return a loss that knows the class counts, as do the losses in it."""
    loss = MODELS.build(dict(type=f'mmcausal.{name}', **kwargs))
    for module in loss.modules():
        if hasattr(module, 'set_class_counts'):
            module.set_class_counts(counts)
    return loss


def random_batch():
    """Return logits (7, 4) and labels (7,) of every class."""
    return 3 * torch.randn(7, 4), torch.tensor([0, 1, 2, 3, 0, 0, 3])
