"""MMDetection's EQLv2, with its activation made known to the box heads."""
from typing import Dict

from mmcausal.hosts import require_host

require_host('mmdet')

from mmdet.models.losses import EQLV2Loss as HostEQLV2Loss  # noqa: E402
from mmdet.models.losses import accuracy  # noqa: E402
from torch import Tensor  # noqa: E402

from mmcausal.registry import MODELS  # noqa: E402


@MODELS.register_module()
class EQLV2Loss(HostEQLV2Loss):
    """Same as MMDetection's ``EQLV2Loss`` (Tan et al., CVPR 2021), except that box heads learn of its sigmoids.

    The host's version lacks the marks by which a box head asks a loss for its activation, so the head would infer by a
    softmax. On several ranks, set ``use_distributed=True``. Its background is not a logit of a softmax, so there is no
    TDE for it.
    """
    custom_cls_channels = custom_activation = custom_accuracy = True

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the number of logits for C classes, the background's included."""
        return num_classes + 1

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> Dict[str, Tensor]:
        """Return the share of proposals, in percent, with the largest logit at their label."""
        return dict(acc_classes=accuracy(cls_score, labels))
