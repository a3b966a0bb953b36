"""The classifier layer of detectors: foreground, background and degenerate features."""
import math

import pytest
import torch
from helpers.detectors import NUM_CLASSES

from mmcausal.models import DetectionDeconfoundLinear
from mmcausal.models.layers.tde_linear import BATCHES_WITHOUT_UPDATE


def test_foreground_that_is_not_finite_is_left_out_and_background_may_be_anything():
    layer, batches = DetectionDeconfoundLinear(8, 6), [torch.randn(4, 8) + 1 for _ in range(3)]
    is_foreground = torch.tensor([True, False, True, True])
    batches[0][1] = math.nan  # background
    batches[1][2] = math.nan
    for batch in batches:
        layer.observe(batch, is_foreground)
    layer.update_direction(0.)
    seen = torch.cat([batch[is_foreground] for batch in (batches[0], batches[2])])
    torch.testing.assert_close(layer.mean_feature, seen.mean(0))


# Traps of the authors' code, which this layer avoids


def test_trap_a_batch_without_foreground_is_no_nan():
    layer = DetectionDeconfoundLinear(8, NUM_CLASSES + 1)
    assert torch.randn(4, 8)[torch.zeros(4, dtype=torch.bool)].mean(0).isnan().all()  # theirs, for ever
    with layer.observing(torch.zeros(4, dtype=torch.bool)):
        layer(torch.randn(4, 8))
    layer.update_direction(0.9)
    assert not layer.mean_feature.any() and layer.num_updates == 0


def test_trap_the_direction_stays_on_its_device():
    """Theirs goes to the CPU in every iteration; a meta device has no values to read, so this would be an error."""
    layer = DetectionDeconfoundLinear(8, NUM_CLASSES + 1, device='meta')
    with layer.observing(torch.ones(4, dtype=torch.bool, device='meta')):
        layer(torch.randn(4, 8, device='meta'))
    layer.update_direction(0.9)
    assert layer.mean_feature.device.type == 'meta'


def test_trap_a_zero_feature_or_direction_is_finite():
    layer = DetectionDeconfoundLinear(8, NUM_CLASSES + 1, alpha=1.5)
    x = torch.cat([torch.zeros(1, 8), torch.randn(2, 8)])
    theirs = x / x.norm(dim=1, keepdim=True)
    assert theirs[0].isnan().all()
    layer.eval().mean_feature[4:] = 1.  # the first head has no direction
    scores = layer(x)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(3))


def test_a_direction_without_foreground_says_what_to_check(recwarn):
    layer = DetectionDeconfoundLinear(8, 6, alpha=1.5)
    for _ in range(2 * BATCHES_WITHOUT_UPDATE):
        with layer.observing(torch.zeros(3, dtype=torch.bool)):
            layer(torch.randn(3, 8))
        layer.update_direction(0.9)
    message, = [str(warning.message) for warning in recwarn]
    assert message.startswith('TDE (alpha=1.5) needs the head direction of the training features, but in 1000 batches '
                              'no proposal was foreground: check the class names')
    with pytest.raises(RuntimeError, match='but no proposal was foreground: check the class names') as error:
        layer.eval()(torch.randn(3, 8))
    assert 'HeadDirectionHook' not in str(error.value)
    with pytest.raises(RuntimeError, match='HeadDirectionHook.* If the hook was there, no proposal was foreground'):
        DetectionDeconfoundLinear(8, 6, alpha=1.5).eval()(torch.randn(3, 8))  # the checkpoint of another process
