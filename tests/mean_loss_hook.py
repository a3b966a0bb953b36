"""For configs of tests, whose processes import it by ``custom_imports``."""
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class MeanLossHook(Hook):
    """Logs the mean loss of all ranks, where the host logs that of the first."""
    priority = 'HIGHEST'  # before RuntimeInfoHook takes it down

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        outputs['loss'] = outputs['loss'].detach().clone()
        all_reduce(outputs['loss'], op='mean')
