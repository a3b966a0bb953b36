"""Hook for configs of tests; their processes import it by ``custom_imports``."""
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class MeanLossHook(Hook):
    """Log the mean loss of all ranks; the host logs the loss of the first."""
    priority = 'HIGHEST'  # before RuntimeInfoHook logs it

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        outputs['loss'] = outputs['loss'].detach().clone()
        all_reduce(outputs['loss'], op='mean')
