"""Linear layer that knows whether its checkpoint was one of other classes."""
from typing import Dict, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from mmcausal.checkpoints import OTHER_CLASSES, check_checkpoint, check_finite, differences, shapes_of
from mmcausal.checks import check_flag, check_integer

Device = Union[torch.device, str, int, None]

ADDED_PARAMETERS = ('bias', 'scale')  # that a classifier may have beside its class weights


class CheckedLinear(nn.Linear):
    """Same as ``nn.Linear``, except that it checks its arguments and its checkpoints.

    It leaves out a checkpoint of other shapes as a whole, buffers included, and refuses one with values that are not
    finite.

    MMEngine loads the entries that fit and only logs the others: with other classes, the direction of the old features
    beside random class weights. From such a checkpoint, the layer trains; it refuses to infer until it was trained, or
    loaded a checkpoint that fits. So it does after a checkpoint with a bias, or a factor for each class, that it has no
    place for: its class weights are those of another classifier.

    Attributes:
        misfits: A clause for each entry of the last checkpoint that has another shape or no place, until training.
        ignored: Parameters of another classifier that have no part in this one by its definition.

    Raises:
        ValueError: At construction, for sizes below 1 or a ``bias`` that is no boolean; for a checkpoint with values
            that are not finite.
    """
    misfits: Sequence[str] = ()
    ignored: Tuple[str, ...] = ()

    def __init__(self,
                 in_features: int,
                 out_features: int,
                 bias: bool = True,
                 device: Device = None,
                 dtype: Optional[torch.dtype] = None) -> None:
        in_features, out_features = (check_integer(name, value, 1) for name, value in
                                     (('in_features', in_features), ('out_features', out_features)))
        super().__init__(in_features, out_features, check_flag('bias', bias), device, dtype)

    def _load_from_state_dict(self, state_dict: Dict[str, Tensor], prefix: str, *args: object) -> None:
        kept = {name: value for name, value in self.state_dict(prefix=prefix).items() if name in state_dict}
        check_finite({name: state_dict[name] for name in kept})
        own = shapes_of(kept)
        if own:
            self.misfits = differences(own, shapes_of({name: state_dict[name] for name in own}))
        if self.misfits:
            fitting = {name for name in own if own[name] == tuple(state_dict[name].shape)}
            state_dict.update({name: kept[name] for name in fitting})  # the others raise, or are logged, as usual
        super()._load_from_state_dict(state_dict, prefix, *args)
        if own:
            names = {f'{prefix}{name}' for name in ADDED_PARAMETERS if name not in self.ignored}
            surplus = shapes_of({name: state_dict[name] for name in sorted(names & (state_dict.keys() - own.keys()))})
            self.misfits = [*self.misfits, *differences({}, surplus)]

    def check_loaded(self) -> None:
        """Raise ``ValueError`` if the layer left out its last checkpoint and was not trained since."""
        check_checkpoint('classifier', self.misfits, OTHER_CLASSES)
