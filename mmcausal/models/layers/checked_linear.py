"""Linear layer that knows whether its checkpoint was one of other classes."""
from typing import Dict, Sequence

from torch import Tensor, nn

from mmcausal.checkpoints import OTHER_CLASSES, check_checkpoint, differences, shapes_of


class CheckedLinear(nn.Linear):
    """Same as ``nn.Linear``, except that it leaves out a checkpoint of other shapes as a whole, buffers included.

    MMEngine loads the entries that fit and only logs the others: with other classes, the direction of the old features
    beside random class weights. From such a checkpoint, the layer trains; it refuses to infer until it was trained, or
    loaded a checkpoint that fits.

    Attributes:
        misfits: A clause for each entry of the last checkpoint with another shape, until training.
    """
    misfits: Sequence[str] = ()

    def _load_from_state_dict(self, state_dict: Dict[str, Tensor], prefix: str, *args: object) -> None:
        kept = {name: value for name, value in self.state_dict(prefix=prefix).items() if name in state_dict}
        own = shapes_of(kept)
        if own:
            self.misfits = differences(own, shapes_of({name: state_dict[name] for name in own}))
        if self.misfits:
            fitting = {name for name in own if own[name] == tuple(state_dict[name].shape)}
            state_dict.update({name: kept[name] for name in fitting})  # the others raise, or are logged, as usual
        super()._load_from_state_dict(state_dict, prefix, *args)

    def check_loaded(self) -> None:
        """Raise ``ValueError`` if the layer left out its last checkpoint and was not trained since."""
        check_checkpoint('classifier', self.misfits, OTHER_CLASSES)
