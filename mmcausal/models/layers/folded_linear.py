"""Evaluation of a classifier layer with everything that does not depend on the features computed once."""
from typing import TYPE_CHECKING, Dict, List

import torch
from torch import Tensor, nn

from mmcausal import functional
from mmcausal.models.layers.exemption import exempt_background

if TYPE_CHECKING:
    from mmcausal.models.layers.detection_linear import DetectionDeconfoundLinear
    from mmcausal.models.layers.tde_linear import TDELinear


class FoldedLinear(nn.Module):
    """Evaluation of a trained :class:`TDELinear` as one matrix product of normalised features.

    Args:
        layer: Layer in its state of now; later changes of it do not count.

    Raises:
        ValueError: A head direction that is not finite.
        RuntimeError: ``alpha != 0`` without a head direction.
    """
    weight: Tensor
    bias: Tensor

    def __init__(self, layer: 'TDELinear') -> None:
        super().__init__()
        self.num_heads, self.normalizer = layer.num_heads, layer.normalizer
        weight = functional.folded_weight(layer.effective_weight().detach(), layer.mean_feature,
                                          self._alpha_of_weight(layer), *layer.hyperparameters)
        offset = layer.offset()
        bias = weight.new_zeros(len(weight)) if offset is None else offset.detach().to(weight.dtype, copy=True)
        self.register_buffer('weight', weight)
        self.register_buffer('bias', bias)

    def _alpha_of_weight(self, layer: 'TDELinear') -> float:
        return layer.resolved_alpha() if layer.alpha != 0 else 0.

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, C) of features x (N, D)."""
        with functional.without_autocast(x.device):
            features = functional.normalized_features(x, self.num_heads, self.normalizer)
            return nn.functional.linear(features, self.weight, self.bias)


class FoldedDetectionLinear(FoldedLinear):
    """Same as :class:`FoldedLinear` for a layer whose background takes no part in TDE.

    It needs the total effect of the background and the Total Direct Effect of the foreground. The second is the first
    less a product of (N, K) and (K, C) numbers, so the features are multiplied with the weights once.
    """
    directions: Tensor
    along: Tensor

    def __init__(self, layer: 'DetectionDeconfoundLinear') -> None:
        super().__init__(layer)
        self.alpha, self.num_background = layer.resolved_alpha(), layer.num_background
        direction = functional.head_direction(layer.mean_feature, self.num_heads).view(self.num_heads, -1)
        self.register_buffer('directions', torch.block_diag(*direction))
        self.register_buffer('along', self.alpha * self.weight @ self.directions.t())

    def _alpha_of_weight(self, layer: 'TDELinear') -> float:
        return 0.

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-probabilities (N, C + 1) of Eq. 9, or logits of a Seesaw loss, of features x (N, D)."""
        with functional.without_autocast(x.device):
            features = functional.normalized_features(x, self.num_heads, self.normalizer)
            logits = nn.functional.linear(features, self.weight, self.bias)
            tde_logits = torch.addmm(logits, features @ self.directions.t(), self.along.t(), alpha=-1)
        return exempt_background(logits, tde_logits, self.num_background)


class FoldedCache:
    """Folded layers by the settings of their layer, such as alpha, for as long as its tensors stay as they are.

    PyTorch counts the changes of a tensor, except those through ``tensor.data``, by which some optimisers and EMA hooks
    write all of its numbers. So a sample of each tensor, with numbers of each row, is compared too.
    """
    MAX_FOLDS = 2  # TDE, and the total effect that validations report beside it

    def __init__(self) -> None:
        self._versions: List[tuple] = []
        self._sample = torch.zeros(0)
        self._folds: Dict[tuple, FoldedLinear] = {}

    def __reduce__(self) -> tuple:
        """Leave the folded layers out of copies and pickles."""
        return FoldedCache, ()

    def clear(self) -> None:
        """Forget all folded layers."""
        self._folds.clear()

    def of(self, layer: 'TDELinear') -> FoldedLinear:
        """Return the folded layer, computed again if anything in ``layer`` has changed."""
        own = [value for value in vars(layer).values() if isinstance(value, Tensor)]
        tensors = [*layer.parameters(), *layer.buffers(), *own]
        # Tensors made in inference mode have no count of their changes, so they are taken for changed
        versions = [(each.data_ptr(), each.dtype, each.device, object() if each.is_inference() else each._version)
                    for each in tensors]
        sample = torch.cat([_bytes_of_each_row(each) for each in tensors])
        if versions != self._versions or not torch.equal(sample, self._sample):
            self.clear()
        settings = tuple(value for value in vars(layer).values() if isinstance(value, (bool, int, float, str)))
        if settings not in self._folds:
            if len(self._folds) == self.MAX_FOLDS:
                self.clear()
            self._folds[settings] = layer.fold()
        self._versions, self._sample = versions, sample
        return self._folds[settings]


def _bytes_of_each_row(tensor: Tensor) -> Tensor:
    """Return the bytes of a vector, or of some numbers of a matrix (N, D): those on its diagonals, D - 1 apart."""
    step = max(tensor.shape[-1] - 1, 1) if tensor.dim() > 1 else 1
    return tensor.detach().flatten()[::step].contiguous().view(torch.uint8)
