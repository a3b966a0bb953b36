"""A head of MMPretrain around any classifier layer."""
from typing import Mapping, Optional, Union

from mmpretrain.models import LinearClsHead
from torch import nn

from mmcausal.checks import check_config, check_flag, check_integer
from mmcausal.models.tde_support import check_softmax_loss
from mmcausal.registry import MODELS


def _check_host_arguments(arguments: Mapping[str, object]) -> None:
    """Raise ``ValueError`` for arguments that the host accepts until the first batch, or for ever."""
    if 'loss' in arguments:
        check_config('loss', arguments['loss'], nn.Module)
    check_flag('cal_acc', arguments.get('cal_acc', False))
    topk = arguments.get('topk', 1)
    for k in topk if isinstance(topk, (list, tuple)) else [topk]:
        check_integer('topk', k, 1)


@MODELS.register_module()
class ClassifierHead(LinearClsHead):
    """Same as MMPretrain's ``LinearClsHead``, except that you choose its layer ``fc``.

    Args:
        num_classes: Number of classes, C.
        in_channels: Number of feature channels, D.
        classifier: Config of the layer without its two sizes, e.g. ``dict(type='mmcausal.TauNormLinear')``.
        init_cfg: ``None`` by default, unlike the host's: the layer initialises itself.
        **kwargs: ``loss``, ``topk`` and ``cal_acc`` of ``LinearClsHead``.

    Raises:
        ValueError: Sizes below 1, a classifier that is no config, or a loss on sigmoids.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 classifier: dict,
                 init_cfg: Optional[dict] = None,
                 **kwargs: Union[dict, int, tuple, bool]) -> None:
        check_integer('num_classes', num_classes, 1)
        check_integer('in_channels', in_channels, 1)
        check_config('classifier', classifier)
        _check_host_arguments(kwargs)
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **kwargs)
        self.fc = MODELS.build(dict(classifier, in_features=in_channels, out_features=num_classes))
        check_softmax_loss(self)
