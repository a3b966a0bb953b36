"""The de-confounded classifier layer against loops over the equations."""
import pytest
import torch
from helpers import oracle
from helpers.layers import trained_layer

from mmcausal import DeconfoundLinear, functional


@pytest.mark.parametrize('num_heads', (1, 2, 4))
@pytest.mark.parametrize('kind', sorted(functional.NORMALIZERS))
def test_layer_equals_the_oracle_in_training_and_evaluation(num_heads, kind):
    layer = trained_layer(num_heads=num_heads, normalizer=kind, alpha=1.5)
    x = torch.randn(5, 8)
    args = [x.tolist(), layer.weight.tolist(), layer.mean_feature.tolist()]
    for alpha, logits in ((0., layer(x)), (1.5, layer.eval()(x))):
        expected = oracle.tde_logits(*args, alpha, num_heads, 16., 1 / 32, kind)
        torch.testing.assert_close(logits, torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_initial_length_sets_the_first_relative_step():
    """A step turns a class weight by its gradient over its length; in a cosine classifier that is 1 / length^2."""
    torch.manual_seed(0)
    unit = DeconfoundLinear(64, 100, normalizer='cosine', num_heads=1, tau=30., init_length=1.)
    torch.testing.assert_close(unit.weight.norm(dim=1), torch.ones(100))
    assert 'init_length=1.0' in repr(unit) and 'init_length' not in repr(DeconfoundLinear(8, 6))
    usual = DeconfoundLinear(64, 100, normalizer='cosine', num_heads=1, tau=30.)
    lengths = usual.weight.detach().norm(dim=1)
    assert lengths.mean().item() == pytest.approx(1 / 3**0.5, rel=0.02)  # of U(-1/sqrt(D), 1/sqrt(D)), for any D
    with torch.no_grad():
        unit.weight.copy_(usual.weight / lengths[:, None])  # the same directions, so the same logits
    x, labels = torch.randn(50, 64), torch.randint(100, (50, ))
    for layer in (unit, usual):
        torch.nn.functional.cross_entropy(layer(x), labels).backward()
    steps = [layer.weight.grad.norm(dim=1) / layer.weight.detach().norm(dim=1) for layer in (unit, usual)]
    torch.testing.assert_close(steps[1] / steps[0], lengths**-2, rtol=1e-3, atol=0)
    assert (lengths**-2).mean().item() == pytest.approx(3.04, abs=0.05)
    unit.reset_parameters()
    torch.testing.assert_close(unit.weight.norm(dim=1), torch.ones(100))
    with pytest.raises(ValueError, match='init_length must be a number in'):
        DeconfoundLinear(8, 6, init_length=0.)
