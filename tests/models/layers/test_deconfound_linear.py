"""The de-confounded classifier layer against loops over the equations."""
import pytest
import torch
from helpers import oracle
from helpers.layers import trained_layer

from mmcausal import functional


@pytest.mark.parametrize('num_heads', (1, 2, 4))
@pytest.mark.parametrize('kind', sorted(functional.NORMALIZERS))
def test_layer_equals_the_oracle_in_training_and_evaluation(num_heads, kind):
    layer = trained_layer(num_heads=num_heads, normalizer=kind, alpha=1.5)
    x = torch.randn(5, 8)
    args = [x.tolist(), layer.weight.tolist(), layer.mean_feature.tolist()]
    for alpha, logits in ((0., layer(x)), (1.5, layer.eval()(x))):
        expected = oracle.tde_logits(*args, alpha, num_heads, 16., 1 / 32, kind)
        torch.testing.assert_close(logits, torch.tensor(expected), atol=1e-5, rtol=1e-5)
