"""Each layer accepts and shows the arguments that act, and no others."""
import inspect

import pytest
import torch

from mmcausal.models import layers
from mmcausal.registry import MODELS

LAYERS = [getattr(layers, name) for name in layers.__all__ if isinstance(getattr(layers, name), type)]
# argument of each layer beside the sizes, bias, alpha, device and dtype
ACTING = {
    'TDELinear': set(),
    'DeconfoundLinear': {'num_heads', 'tau', 'gamma', 'normalizer'},
    'DetectionDeconfoundLinear': {'num_heads', 'tau', 'gamma', 'normalizer', 'exempt_background'},
    'TauNormLinear': {'exponent'},
    'LWSLinear': set(),
    'NCMLinear': {'tau'},
    'EuclideanNCMLinear': {'tau'},
    'LogitAdjustedLinear': {'tau'},
    'LogitAdjustedDeconfoundLinear': {'num_heads', 'tau', 'gamma', 'normalizer', 'adjustment'},
}
WITH_BIAS = {'TDELinear', 'DeconfoundLinear', 'DetectionDeconfoundLinear', 'LWSLinear', 'LogitAdjustedLinear',
             'LogitAdjustedDeconfoundLinear'}
ALL = {'num_heads', 'tau', 'gamma', 'normalizer', 'exempt_background', 'exponent', 'bias', 'class_weight', 'adjustment'}


@pytest.mark.parametrize('layer', LAYERS)
def test_arguments_are_shown(layer):
    assert set(ACTING) == {layer.__name__ for layer in LAYERS}
    text = repr(layer(8, 6))
    shown = ACTING[layer.__name__] | {'in_features', 'out_features', 'bias', 'alpha'}
    assert all(f'{name}=' in text for name in shown), text
    assert not any(f'{name}=' in text for name in ALL - shown), text


@pytest.mark.parametrize('layer', LAYERS)
def test_other_arguments_are_a_type_error_of_the_layer(layer):
    name = layer.__name__
    accepted = ACTING[name] | {'bias' if name in WITH_BIAS else ''}
    assert accepted - {''} <= set(inspect.signature(layer).parameters)
    for argument in ALL - accepted:
        with pytest.raises(TypeError, match=f"{name}.*unexpected keyword argument '{argument}'"):
            layer(8, 6, **{argument: 1})
        with pytest.raises(TypeError, match=f"{name}.*unexpected keyword argument '{argument}'"):
            MODELS.build({'type': f'mmcausal.{name}', 'in_features': 8, 'out_features': 6, argument: 1})


def test_the_value_that_acts_is_shown():
    assert 'tau=2.0' in repr(layers.LogitAdjustedLinear(4, 3, tau=2.))
    assert 'exponent=0.7' in repr(layers.TauNormLinear(4, 3, exponent=0.7))
    text = repr(layers.DeconfoundLinear(4, 3))
    assert text.endswith("num_heads=2, tau=16.0, gamma=0.03125, normalizer='deconfound')")
    assert 'gamma' not in repr(layers.DeconfoundLinear(4, 3, normalizer='cosine'))
    assert 'tau' not in repr(layers.DeconfoundLinear(4, 3, normalizer='linear'))


@pytest.mark.parametrize('normalizer, inert', [('cosine', {'gamma': 0.5}), ('capsule', {'gamma': 0.5}),
                                               ('linear', {'gamma': 0.5, 'tau': 3.})])
def test_hidden_hyperparameters_do_not_act(normalizer, inert):
    x, first = torch.randn(5, 8) + 1, layers.DeconfoundLinear(8, 6, normalizer=normalizer, alpha=1.)
    second = layers.DeconfoundLinear(8, 6, normalizer=normalizer, alpha=1., **inert)
    first(x)
    first.update_direction(0.)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.eval()(x), second.eval()(x))


def test_base_is_a_linear_layer_with_tde():
    layer, x = layers.TDELinear(8, 6, bias=True, alpha=0.5), torch.randn(5, 8) + 1
    plain = torch.nn.functional.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(layer(x), plain)
    layer.update_direction(0.)
    direction = x.mean(0) / x.mean(0).norm()
    expected = plain - 0.5 * torch.outer(x @ direction, layer.weight @ direction)
    torch.testing.assert_close(layer.eval()(x), expected)


def test_sizes_names_and_defaults():
    assert layers.TDELinear(4, 3).alpha == layers.DeconfoundLinear(4, 3).alpha == 0.
    assert layers.DetectionDeconfoundLinear(4, 2).out_features == 2
    for name, value in (('out_features', 1), ('in_features', 0), ('exempt_background', 1), ('bias', 'no')):
        with pytest.raises(ValueError, match=f'^{name} must'):
            layers.DetectionDeconfoundLinear(**{**dict(in_features=4, out_features=3), name: value})
    with pytest.raises(ValueError, match='^init_length must'):
        layers.DeconfoundLinear(4, 3, init_length=0)
