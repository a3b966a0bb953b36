"""mmcausal's nodes in MMEngine's registry tree: ``type='mmcausal.X'`` finds X with no ``custom_imports``."""
from importlib import import_module
from typing import Any

from mmcausal.hosts import require_host

require_host('mmengine')

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS  # noqa: E402
from mmengine.registry import DATASETS as MMENGINE_DATASETS  # noqa: E402
from mmengine.registry import HOOKS as MMENGINE_HOOKS  # noqa: E402
from mmengine.registry import LOOPS as MMENGINE_LOOPS  # noqa: E402
from mmengine.registry import METRICS as MMENGINE_METRICS  # noqa: E402
from mmengine.registry import MODELS as MMENGINE_MODELS  # noqa: E402
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS  # noqa: E402
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS  # noqa: E402
from mmengine.registry import Registry as MMEngineRegistry  # noqa: E402

__all__ = ['DATASETS', 'DATA_SAMPLERS', 'HOOKS', 'LOOPS', 'METRICS', 'MODELS', 'OPTIM_WRAPPERS', 'TRANSFORMS']


class Registry(MMEngineRegistry):
    """Same as MMEngine's, except that a component whose host is missing is an ``ImportError`` that names it."""

    def get(self, key: str) -> Any:
        component = super().get(key)
        if component is None:
            for location in self._locations:  # a package says what is wrong with the host of a name
                getattr(import_module(location), key.split('.')[-1], None)
        return component


DATASETS = Registry('dataset', parent=MMENGINE_DATASETS, scope='mmcausal', locations=['mmcausal.datasets'])
DATA_SAMPLERS = Registry(
    'data sampler', parent=MMENGINE_DATA_SAMPLERS, scope='mmcausal', locations=['mmcausal.datasets'])
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, scope='mmcausal', locations=['mmcausal.hooks'])
LOOPS = Registry('loop', parent=MMENGINE_LOOPS, scope='mmcausal', locations=['mmcausal.loops'])
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope='mmcausal', locations=['mmcausal.evaluation'])
MODELS = Registry('model', parent=MMENGINE_MODELS, scope='mmcausal', locations=['mmcausal.models'])
OPTIM_WRAPPERS = Registry(
    'optim_wrapper', parent=MMENGINE_OPTIM_WRAPPERS, scope='mmcausal', locations=['mmcausal.optim_wrapper'])
TRANSFORMS = Registry('transform', parent=MMENGINE_TRANSFORMS, scope='mmcausal', locations=['mmcausal.datasets'])
