"""Background that takes no part in TDE."""
import torch
from torch import Tensor

from mmcausal import functional


def exempt_background(logits: Tensor, tde_logits: Tensor, num_background: int) -> Tensor:
    """Return TDE among the foreground and the total effect of the background, from logits (N, C + num_background).

    Args:
        logits: Total effect.
        tde_logits: Total Direct Effect.
        num_background: 1 for a background that is one more class: the output are log-probabilities (Eq. 9). 2 for the
            objectness logits of Seesaw loss, a distribution of their own: the output are logits.
    """
    if num_background == 1:
        return functional.background_exempt(logits, tde_logits)
    return torch.cat([tde_logits[:, :-num_background], logits[:, -num_background:]], dim=1)
