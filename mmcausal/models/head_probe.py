"""Behaviour of a classification head: its scores on made-up features, beside the outputs of one of its layers."""
import copy
from typing import Iterator, List, NamedTuple, Optional, Union

import torch
from torch import Tensor, nn

from mmcausal.models.layers import TDELinear

Features = Union[Tensor, List[Tensor]]
NUM_SAMPLES = 4


class Probe(NamedTuple):
    """Class scores (N, C) of a head, and the outputs of its layer for the same features, if the layer was called."""
    scores: Tensor
    outputs: Optional[Tensor]

    @property
    def is_distribution(self) -> bool:
        """Whether the scores of each sample sum to 1."""
        return bool(torch.allclose(self.scores.sum(1), self.scores.new_ones(()), atol=1e-4))

    @property
    def is_of_layer(self) -> bool:
        """Whether the layer was called and has one output for each score."""
        return self.outputs is not None and self.outputs.shape == self.scores.shape

    @property
    def is_softmax_of_layer(self) -> bool:
        """Whether the scores are the softmax of the outputs, up to a positive factor and an offset of each class."""
        assert self.outputs is not None
        logits, outputs = _centered(self.scores.log()), _centered(self.outputs)
        factor = (logits * outputs).sum() / outputs.square().sum()
        return bool(factor > 0) and bool((logits - factor * outputs).abs().max() <= 1e-3 * logits.abs().max())


def probe_head(head: nn.Module, layer: str) -> Optional[Probe]:
    """Predict with a copy of ``head``, and return its scores beside the outputs of the layer of this name.

    The weights of the copy are random, because stock heads may start from zero. Head and random state do not change.

    Returns:
        ``None`` for a head that does not predict class scores from features alone.
    """
    generator = torch.Generator().manual_seed(0)
    try:
        twin = copy.deepcopy(head).cpu().double().eval()
        _randomize(twin, generator)
    except Exception:  # a head may hold what cannot be copied
        return None
    for features in _feature_candidates(twin, twin.get_submodule(layer), generator):
        probe = _predict(twin, layer, features)
        if probe is not None:
            return probe
    return None


def _centered(logits: Tensor) -> Tensor:
    """Subtract from logits (N, C) what a softmax does not see, and the mean of each class."""
    logits = logits - logits.mean(1, keepdim=True)
    return logits - logits.mean(0)


def _randomize(module: nn.Module, generator: torch.Generator) -> None:
    """Draw positive weights, so that no unit of the head is dead or saturated."""
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.dim() else 1
        parameter.data = torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype) / max(fan_in, 1)
    for buffer in module.buffers():
        if buffer.dtype == torch.bool:
            buffer.fill_(True)  # as if a checkpoint had been loaded, for NCMLinear
    for layer in module.modules():
        layer._forward_hooks.clear()
        layer._forward_pre_hooks.clear()
        if isinstance(layer, TDELinear):
            layer.alpha = 0.


def _feature_candidates(head: nn.Module, layer: nn.Module, generator: torch.Generator) -> Iterator[Features]:
    """Yield features (N, D), maps and lists of them, of each width that the head may take, and its own last."""

    def draw(width: int) -> Tensor:
        return torch.rand(NUM_SAMPLES, width, generator=generator, dtype=torch.float64)

    linears = [module for module in head.modules() if isinstance(module, nn.Linear)]
    in_channels = getattr(head, 'in_channels', None)
    if isinstance(in_channels, (list, tuple)):
        yield [draw(width) for width in in_channels]
    widths = [width for width in (in_channels, linears[0].in_features, layer.in_features) if isinstance(width, int)]
    for width in dict.fromkeys(widths):
        yield draw(width)
        yield [draw(width), draw(width)]
        yield draw(width)[..., None, None].expand(-1, -1, 2, 2)
    if hasattr(head, 'pre_logits'):
        features = draw(layer.in_features)
        head.pre_logits = lambda feats: features  # type: ignore[assignment]
        yield features


def _predict(head: nn.Module, layer: str, features: Features) -> Optional[Probe]:
    outputs: List[Tensor] = []
    handle = head.get_submodule(layer).register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        scores = _scores(head, features)
        probe = Probe(scores, outputs[-1].double() if outputs else None)
        return probe if scores.dim() == 2 and len(scores) == NUM_SAMPLES else None
    except Exception:  # the head needs other features
        return None
    finally:
        handle.remove()


@torch.no_grad()
def _scores(head: nn.Module, features: Features) -> Tensor:
    samples = head.predict((features, ))
    return torch.stack([sample.pred_score for sample in samples]).double()
