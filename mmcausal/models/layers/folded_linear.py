"""Evaluation of a classifier layer with everything that does not depend on the features computed once."""
import numbers
from functools import lru_cache
from typing import TYPE_CHECKING, Dict, List, NamedTuple

import torch
from torch import Tensor, nn

from mmcausal import functional
from mmcausal.models.layers.exemption import exempt_background
from mmcausal.temporary import temporarily

if TYPE_CHECKING:
    from mmcausal.models.layers.detection_linear import DetectionDeconfoundLinear
    from mmcausal.models.layers.tde_linear import TDELinear


class FoldedLinear(nn.Module):
    """Evaluation of a trained :class:`TDELinear` as one matrix product of normalised features.

    Args:
        layer: Layer in its state of now, in training or evaluation mode; later changes of it do not count.

    Raises:
        ValueError: A head direction that is not finite.
        RuntimeError: ``alpha != 0`` without a head direction.
    """
    weight: Tensor
    bias: Tensor

    def __init__(self, layer: 'TDELinear') -> None:
        super().__init__()
        self.num_heads, self.normalizer = layer.num_heads, layer.normalizer
        with temporarily(layer, training=False):  # or a weight or offset of training would be folded
            weight = functional.folded_weight(layer.effective_weight().detach(), layer.mean_feature,
                                              self._alpha_of_weight(layer), *layer.hyperparameters)
            offset = layer.offset()
        bias = weight.new_zeros(len(weight)) if offset is None else offset.detach().to(weight.dtype, copy=True)
        self.register_buffer('weight', weight)
        self.register_buffer('bias', bias)

    def _alpha_of_weight(self, layer: 'TDELinear') -> float:
        return layer.resolved_alpha()

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


class _Kept(NamedTuple):
    """Folded layers by settings, and the state of the tensors that they are of."""
    versions: List[tuple]
    samples: List[Tensor]
    folds: Dict[tuple, FoldedLinear]


class FoldedCache:
    """Folded layers by the settings of their layer, such as alpha, for as long as its tensors stay as they are.

    PyTorch counts the changes of a tensor, except those through ``tensor.data``, by which some optimisers and EMA hooks
    write all of its numbers. So a sample of each tensor, with a number of each row and column, is compared too.
    """
    MAX_FOLDS = 2  # TDE, and the total effect that validations report beside it

    def __init__(self) -> None:
        self._kept = _Kept([], [], {})

    def __reduce__(self) -> tuple:
        """Leave the folded layers out of copies and pickles."""
        return FoldedCache, ()

    def clear(self) -> None:
        """Forget all folded layers."""
        self._kept = _Kept([], [], {})

    def of(self, layer: 'TDELinear') -> FoldedLinear:
        """Return the folded layer, computed again if anything in ``layer`` has changed."""
        # Made in inference mode, the folded weights could not take part in a gradient later
        with torch.inference_mode(False), torch.no_grad():
            own = [value for value in vars(layer).values() if isinstance(value, Tensor)]
            tensors = [*layer.parameters(), *layer.buffers(), *own]
            # Tensors made in inference mode have no count of their changes, so they are taken for changed
            versions = [(each.data_ptr(), each.dtype, each.device, object() if each.is_inference() else each._version)
                        for each in tensors]
            samples = [_sample(each) for each in tensors]
            kept = self._kept
            is_same = versions == kept.versions and all(map(torch.equal, samples, kept.samples))
            settings = tuple((name, value) for name, value in vars(layer).items()
                             if isinstance(value, (numbers.Number, str)))
            folds = kept.folds if is_same else {}
            if settings not in folds:
                folds = {**(folds if len(folds) < self.MAX_FOLDS else {}), settings: layer.fold()}
            self._kept = _Kept(versions, samples, folds)  # at once, because another thread may infer too
            return folds[settings]


def _sample(tensor: Tensor) -> Tensor:
    """Return the bytes of a vector, or those of a matrix (N, D) along a diagonal that meets each row and column."""
    if tensor.dim() > 1 and tensor.numel():
        diagonal = _diagonal(tensor.shape[0], tensor[0].numel(), tensor.device)
        return tensor.detach().reshape(-1).index_select(0, diagonal).view(torch.uint8)
    return tensor.detach().reshape(-1).clone().view(torch.uint8)


@lru_cache(maxsize=8)
def _diagonal(rows: int, columns: int, device: torch.device) -> Tensor:
    """Return the places, in a row-major matrix, of a diagonal that meets each row and column."""
    steps = torch.arange(max(rows, columns), device=device)
    return steps % rows * columns + steps % columns
