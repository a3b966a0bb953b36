"""Memory format of the convolutions."""
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from mmcausal.hooks.utils import unwrap
from mmcausal.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the model's convolution weights in ``torch.channels_last``, for training, validation and test.

    Convolutions choose that format for their output if either operand has it, so the images need no conversion.
    Results agree up to rounding; the gain in speed depends on the machine and the release of PyTorch. Under a wrapper
    that a strategy of ``FlexibleRunner`` has made, the formats stay, and the log says so.

    A CPU needs at least 16 channels in each layer: with 8, the backward pass of PyTorch 2.1.2 ended with 'double free
    or corruption' on an AVX-512 processor, outside this package as well.
    """

    def before_run(self, runner: Runner) -> None:
        if is_model_wrapper(runner.model) and not hasattr(runner, 'wrap_model'):  # under a strategy of FlexibleRunner
            runner.logger.warning(f'The convolutions keep their memory format under {type(runner.model).__name__}')
            return
        model = unwrap(runner.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if isinstance(runner.model, DistributedDataParallel):
            # It stored the strides of the weights when it was built, and would scramble gradients with others.
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
