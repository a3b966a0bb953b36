"""A head of MMPretrain around any classifier layer."""
from typing import Optional, Union

from mmpretrain.models import LinearClsHead

from mmcausal.models.tde_support import check_softmax_loss
from mmcausal.registry import MODELS


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
        ValueError: A loss on sigmoids.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 classifier: dict,
                 init_cfg: Optional[dict] = None,
                 **kwargs: Union[dict, int, tuple, bool]) -> None:
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **kwargs)
        self.fc = MODELS.build(dict(classifier, in_features=in_channels, out_features=num_classes))
        check_softmax_loss(self)
