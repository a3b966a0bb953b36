"""A head on centred features of unit length."""
from typing import Dict, Optional, Tuple, Union

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcausal.checkpoints import check_finite, leave_out
from mmcausal.models.heads.classifier_head import ClassifierHead
from mmcausal.models.layers.observed_linear import sum_over_ranks
from mmcausal.registry import MODELS


@MODELS.register_module()
class CenteredHead(ClassifierHead):
    """Same as :class:`ClassifierHead`, except that the layer sees (x - c) / ||x - c|| with the mean training feature c.

    Source: the nearest class mean of Kang et al., ICLR 2020 (arXiv 1910.09217), in their code.
    :class:`mmcausal.loops.ClassMeansLoop` finds the centre. The mean of the centred
    features is nearly zero, so they have no head direction for TDE to remove.

    Args:
        num_classes, in_channels, classifier, init_cfg: As in :class:`ClassifierHead`.
        **kwargs: As in :class:`ClassifierHead`.

    Attributes:
        center: Buffer (D,), c; zero until :meth:`set_center`.

    Raises:
        RuntimeError: Without a centre.
    """
    center: Tensor
    feature_sum: Tensor

    def __init__(self,
                 num_classes: int,
                 in_channels: int,
                 classifier: dict,
                 init_cfg: Optional[dict] = None,
                 **kwargs: Union[dict, int, tuple, bool]) -> None:
        super().__init__(num_classes, in_channels, classifier, init_cfg, **kwargs)
        self.register_buffer('center', torch.zeros(in_channels))
        # Of the features seen (D) and of ones (1): ranks merge with one all-reduce
        self.register_buffer('feature_sum', torch.zeros(in_channels + 1), persistent=False)

    def pre_logits(self, feats: Tuple[Tensor]) -> Tensor:
        """Return centred features (N, D) of unit length."""
        if not self.center.any():
            raise RuntimeError('CenteredHead has no centre: train it with train_cfg=dict('
                               "type='mmcausal.ClassMeansLoop'), or load a checkpoint that has one")
        return F.normalize(super().pre_logits(feats) - self.center, dim=1)

    def _load_from_state_dict(self, state_dict: Dict[str, Tensor], prefix: str, *args: object) -> None:
        if f'{prefix}center' not in state_dict:  # stage one: its classifier and direction saw other features
            leave_out(state_dict, f'{prefix}fc.')
        else:
            check_finite({'center': state_dict[f'{prefix}center']})
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def add_features(self, feats: Tuple[Tensor]) -> None:
        """Add the features (N, D) of a batch to the mean that :meth:`set_center` takes."""
        x = super().pre_logits(feats)
        self.feature_sum += torch.cat([x.sum(0), x.new_tensor([len(x)])])

    @torch.no_grad()
    def set_center(self) -> None:
        """Set the centre to the mean of all features added, over all ranks.

        Raises:
            ValueError: No feature was added, or one that is not finite.
        """
        sum_over_ranks(self.feature_sum)
        if not self.feature_sum[-1]:
            raise ValueError('the centre needs at least one feature, but none was added')
        if not self.feature_sum.isfinite().all():
            raise ValueError('the centre needs finite features, but got some that are nan or infinite')
        self.center.copy_(self.feature_sum[:-1] / self.feature_sum[-1])
        self.feature_sum.zero_()
