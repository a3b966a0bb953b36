"""A head of MMPretrain around any classifier layer."""
from typing import Any, Optional

from mmcausal.hosts import require_host
from mmcausal.registry import MODELS

require_host('mmpretrain')

from mmpretrain.models import LinearClsHead  # noqa: E402


@MODELS.register_module()
class ClassifierHead(LinearClsHead):
    """Same as MMPretrain's ``LinearClsHead``, except that its layer ``fc`` is the one you name.

    Args:
        num_classes: Number of classes, C.
        in_channels: Number of feature channels, D.
        classifier: Config of the layer, e.g. ``dict(type='mmcausal.TauNormLinear')``, without its two sizes.
        init_cfg: Unlike the host's default, none: the layer initialises itself.
        **kwargs: ``loss``, ``topk`` and ``cal_acc`` of ``LinearClsHead``.
    """

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 classifier: dict,
                 init_cfg: Optional[dict] = None,
                 **kwargs: Any) -> None:
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **kwargs)
        self.fc = MODELS.build(dict(classifier, in_features=in_channels, out_features=num_classes))
