"""The de-confounded classifier as a head of MMPretrain."""
from typing import Optional, Union

from mmcausal.models.heads.classifier_head import ClassifierHead
from mmcausal.models.layers import Alpha
from mmcausal.registry import MODELS


@MODELS.register_module()
class DeconfoundHead(ClassifierHead):
    """Same as MMPretrain's ``LinearClsHead``, except that its linear layer is a :class:`DeconfoundLinear`.

    Args:
        num_classes: Number of classes, C.
        in_channels: Number of feature channels, D.
        num_heads, tau, gamma, normalizer, alpha, init_length: See :class:`DeconfoundLinear`.
        init_cfg: ``None`` by default, unlike the host's: the layer initialises itself.
        **kwargs: ``loss``, ``topk`` and ``cal_acc`` of ``LinearClsHead``.

    Raises:
        ValueError: Arguments out of range, or a loss on sigmoids.

    Example:
        In a config of MMPretrain::

            model = dict(head=dict(type='mmcausal.DeconfoundHead'))
            custom_hooks = [dict(type='mmcausal.HeadDirectionHook')]

        Alpha stays 0, the total effect, until ``tools/analysis/sweep_alpha.py`` has chosen one.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 num_heads: int = 2,
                 tau: float = 16.,
                 gamma: float = 1 / 32,
                 normalizer: str = 'deconfound',
                 alpha: Alpha = 0.,
                 init_cfg: Optional[dict] = None,
                 init_length: Optional[float] = None,
                 **kwargs: Union[dict, int, tuple, bool]) -> None:
        classifier = dict(type='mmcausal.DeconfoundLinear', num_heads=num_heads, tau=tau, gamma=gamma,
                          normalizer=normalizer, alpha=alpha, init_length=init_length)
        super().__init__(num_classes, in_channels, classifier, init_cfg=init_cfg, **kwargs)
