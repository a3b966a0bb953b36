"""Compiled backbones."""
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmcausal.models.enable_tde import without_wrappers
from mmcausal.registry import HOOKS

OLDEST = (2, 4)  # release of PyTorch whose compiler takes whole backbones in training and evaluation


@HOOKS.register_module()
class CompileBackboneHook(Hook):
    """Compile the model's backbone with ``torch.compile``, in training, validation and test.

    Weights, their names and checkpoints stay as they are; results agree up to rounding. The first steps take a minute
    longer, and so does the first batch of another size. With an older PyTorch, nothing is compiled and the log says so.

    Args:
        backend: Compiler of PyTorch. ``'inductor'`` needs a C++ compiler on a CPU, and Triton on a GPU.

    Raises:
        ValueError: Before the run, an unknown compiler, or a model without a backbone.

    Example:
        On the command line: ``--cfg-options default_hooks.compile.type=mmcausal.CompileBackboneHook``
    """

    def __init__(self, backend: str = 'inductor') -> None:
        self.backend = backend

    def before_run(self, runner: Runner) -> None:
        backbone = getattr(without_wrappers(runner.model), 'backbone', None)
        if not isinstance(backbone, torch.nn.Module):
            raise ValueError('CompileBackboneHook needs a model with a backbone, but got a '
                             f'{type(without_wrappers(runner.model)).__name__}')
        if tuple(map(int, torch.__version__.split('.')[:2])) < OLDEST:
            runner.logger.warning(f'The backbone is not compiled: that needs PyTorch {OLDEST[0]}.{OLDEST[1]}, but this '
                                  f'is {torch.__version__}')
            return
        known = torch._dynamo.list_backends(exclude_tags=())
        if self.backend not in known:
            raise ValueError(f'backend must be one of {known}, but got {self.backend!r}')
        backbone.compile(backend=self.backend)
