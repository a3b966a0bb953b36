"""Total effect beside TDE in the predictions of a classifier, without another pass of its network."""
import contextlib
from typing import Iterator, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmcausal.models.layers import DetectionDeconfoundLinear, TDELinear
from mmcausal.temporary import temporarily


@contextlib.contextmanager
def by_total_effect(layers: Sequence[TDELinear]) -> Iterator[None]:
    """Make layers infer by total effect within this context."""
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(temporarily(layer, alpha=0.))
        yield


class TotalEffectRecorder:
    """Add to each prediction by TDE the scores by total effect, as ``total_effect_score`` (C,).

    Whenever the classifier predicts by TDE, its head runs once more, with alpha = 0, on the features that it has. With
    alpha = 0 nothing runs twice and nothing is added.

    Args:
        classifier: Classifier that returns data samples of MMPretrain. If its ``head`` does not contain the
            :class:`TDELinear`, the layer itself runs once more. Detectors are left alone.
    """

    def __init__(self, classifier: nn.Module) -> None:
        self.layers = [layer for layer in classifier.modules()
                       if isinstance(layer, TDELinear) and not isinstance(layer, DetectionDeconfoundLinear)]
        self._scores: Optional[Tensor] = None
        self._handles = []
        if self.layers:
            head = _innermost(classifier, self.layers)
            self._handles = [head.register_forward_hook(self._record), classifier.register_forward_hook(self._attach)]

    def _record(self, head: nn.Module, args: Tuple[Tensor, ...], logits: Tensor) -> None:
        layers = [layer for layer in self.layers if layer.alpha != 0 and not layer.training]
        if layers and isinstance(logits, Tensor):
            with torch.no_grad(), by_total_effect(layers):
                self._scores = head.forward(*args).softmax(-1)

    def _attach(self, classifier: nn.Module, args: tuple, predictions: List) -> None:
        scores, self._scores = self._scores, None
        if scores is not None and isinstance(predictions, list):
            for sample, score in zip(predictions, scores):
                sample.set_field(score, 'total_effect_score')

    def remove(self) -> None:
        """Leave later predictions alone."""
        for handle in self._handles:
            handle.remove()


def _innermost(classifier: nn.Module, layers: Sequence[TDELinear]) -> nn.Module:
    """Return the head of a classifier if it contains all layers, or else the last layer, which yields the logits."""
    head = getattr(classifier, 'head', None)
    if isinstance(head, nn.Module) and set(head.modules()).issuperset(layers):
        return head
    return layers[-1]
