"""Helpers of the hooks."""
from typing import List, Type, TypeVar

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

Module = TypeVar('Module')


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside a distributed wrapper, or the model itself."""
    return model.module if is_model_wrapper(model) else model


def modules_of_type(model: nn.Module, kind: Type[Module]) -> List[Module]:
    """Return the modules of a model, inside a distributed wrapper or not, that are instances of ``kind``."""
    return [module for module in unwrap(model).modules() if isinstance(module, kind)]


def check_epochs(hook: Hook, runner: Runner) -> None:
    """Raise ``ValueError`` if the training counts no epochs, by which ``hook`` acts."""
    if isinstance(runner.train_loop, IterBasedTrainLoop):
        raise ValueError(f'{type(hook).__name__} acts by epochs, but an IterBasedTrainLoop has one epoch alone; train '
                         'by epochs, in an EpochBasedTrainLoop')


def is_sharded(model: nn.Module) -> bool:
    """Return whether each rank holds a part of the weights alone: under FSDP, or DeepSpeed's ZeRO stage 3."""
    return (isinstance(model, FullyShardedDataParallel)
            or any(hasattr(parameter, 'ds_id') for parameter in unwrap(model).parameters()))
