"""MMEngine's strategies of training (``FlexibleRunner``), as far as a head direction depends on them."""
import torch
from mmengine.hooks import EMAHook
from mmengine.optim import BaseOptimWrapper
from mmengine.runner import Runner

from mmcausal.hooks.utils import is_sharded

TRIED = ('SingleDeviceStrategy', 'DDPStrategy', 'FSDPStrategy', 'DeepSpeedStrategy')


def check_strategy(runner: Runner) -> None:
    """Raise ``ValueError`` for a strategy or wrapper under which a head direction is wrong, or nobody has tried."""
    strategy = getattr(runner, 'strategy', None)
    if strategy is not None and not {kind.__name__ for kind in type(strategy).__mro__}.intersection(TRIED):
        raise ValueError(f'strategy must be one of {TRIED}, but got {type(strategy).__name__}: nobody has tried '
                         'whether it leaves the head direction whole and in float32')
    if is_sharded(runner.model) and any(isinstance(hook, EMAHook) for hook in runner.hooks):
        raise ValueError(f'EMAHook averages whole weights, but {type(runner.model).__name__} shares them out: take out '
                         'the hook, or take DDPStrategy')
    precision = getattr(getattr(runner.model, 'mixed_precision', None), 'buffer_dtype', None)
    if precision in (torch.float16, torch.bfloat16):
        raise ValueError(f'mixed_precision.buffer_dtype must be float32, but got {precision}: the small steps of the '
                         'head direction would be lost. Leave it out; param_dtype and reduce_dtype may stay')


def refuse_shared_gradients(user: str, runner: Runner) -> None:
    """Raise ``ValueError`` if ranks share out weights, or DeepSpeed keeps the gradients, and name the ``user``."""
    is_of_deepspeed = type(getattr(runner, 'strategy', None)).__name__ == 'DeepSpeedStrategy'
    if is_sharded(runner.model) or is_of_deepspeed:
        raise ValueError(f'{user} needs all weights and gradients on each rank, which {type(runner.model).__name__} '
                         'does not keep')


def has_stepped(optim_wrapper: BaseOptimWrapper) -> bool:
    """Return whether the iteration that has just ended was the last one of an optimiser step."""
    if hasattr(optim_wrapper, 'should_update'):
        return optim_wrapper.should_update()
    engine = optim_wrapper.model  # of DeepSpeed, which accumulates by itself
    return engine.micro_steps % engine.gradient_accumulation_steps() == 0
