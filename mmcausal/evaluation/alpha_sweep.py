"""How accuracy depends on alpha: one pass over the images, then every alpha from the features."""
from typing import Any, Dict, Iterable, List, Tuple

import torch
from torch import Tensor, nn

from mmcausal.evaluation.shot_accuracy import ShotAccuracy
from mmcausal.models.deconfound_linear import DeconfoundLinear


@torch.no_grad()
def collect_features(model: nn.Module, layer: nn.Module, dataloader: Iterable[Any]) -> Tuple[Tensor, Tensor]:
    """The inputs (N, D) of ``layer`` and the labels (N,) of all images of a dataloader, on the CPU.

    Args:
        model: A classifier of MMPretrain that contains ``layer``, in evaluation mode.
        layer: The classifier layer.
        dataloader: Yields what ``model.test_step`` takes.
    """
    features: List[Tensor] = []
    labels: List[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0].float().cpu()))
    try:
        for batch in dataloader:
            labels += [sample.gt_label.cpu() for sample in model.test_step(batch)]
    finally:
        handle.remove()
    return torch.cat(features), torch.cat(labels)


@torch.no_grad()
def sweep_alpha(layer: DeconfoundLinear, features: Tensor, labels: Tensor, alphas: Iterable[float],
                metric: ShotAccuracy) -> List[Dict[str, Any]]:
    """Accuracy in percent and entropy of the mean prediction, for each alpha.

    The entropy, in nats, needs no label: on balanced images it tells how evenly the classes are predicted.

    Args:
        layer: A trained classifier with a head direction; its ``alpha`` and mode are left as they were.
        features: (N, D), see :func:`collect_features`.
        labels: (N,).
        alphas: Values of the trade-off.
        metric: Knows the class counts and the shot groups.

    Returns:
        One dictionary per alpha, with ``alpha``, ``entropy`` and the keys of :class:`ShotAccuracy`.
    """
    before = layer.alpha, layer.training
    layer.eval()
    results = []
    try:
        for alpha in alphas:
            layer.alpha = float(alpha)
            probs = layer(features.to(layer.weight.device)).softmax(-1).cpu()
            accuracy = metric.compute_metrics(list(zip(labels.tolist(), probs.argmax(-1).tolist())))
            results.append(dict(alpha=layer.alpha, entropy=_entropy(probs.mean(0)), **accuracy))
    finally:
        layer.alpha = before[0]
        layer.train(before[1])
    return results


def _entropy(probs: Tensor) -> float:
    return float(torch.special.entr(probs).sum())
