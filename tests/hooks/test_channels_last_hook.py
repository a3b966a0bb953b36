"""ChannelsLastHook: the format of the convolutions, and nothing else."""
from types import SimpleNamespace
from unittest import mock

import torch
from torch import nn
from torch.nn.parallel import DataParallel

from mmcausal.hooks import ChannelsLastHook


def convolutions():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3))


def is_channels_last(model):
    return [module.weight.is_contiguous(memory_format=torch.channels_last) for module in model if
            isinstance(module, nn.Conv2d)]


def test_format_of_the_weights_and_of_the_output():
    model, images = convolutions(), torch.randn(2, 3, 8, 8)
    expected = model(images)
    ChannelsLastHook().before_run(SimpleNamespace(model=model))
    assert is_channels_last(model) == [True, True]
    outputs = model(images)
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)


def test_a_model_that_a_strategy_has_wrapped_keeps_its_formats_and_the_log_says_so():
    model, logger = convolutions(), mock.Mock()
    ChannelsLastHook().before_run(SimpleNamespace(model=DataParallel(model), logger=logger))
    assert is_channels_last(model) == [False, False]
    logger.warning.assert_called_once_with('The convolutions keep their memory format under DataParallel')
