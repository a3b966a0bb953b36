"""Nodes of mmcausal in MMEngine's registry tree: ``type='mmcausal.X'`` finds X without ``custom_imports``."""
from typing import Optional

from mmcausal.components import MODULE_OF, load_module, nearest_name
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
    """Same as MMEngine's, except that the error for a component that is not found says why.

    Raises:
        ImportError: In :meth:`get`, for a component of a missing host; it names the host.
        KeyError: In :meth:`get`, for a component of another registry, or a misspelt one; it suggests the nearest name.
    """

    def get(self, key: str) -> Optional[type]:
        scope, name = self.split_scope_key(key)
        self.import_from_location()
        if scope in (None, self.scope) and name in MODULE_OF and name not in self.module_dict:
            load_module(name)  # raises the ImportError of its host
            raise KeyError(f'mmcausal.{name} is not in the {self.name} registry')
        component = super().get(key)
        # 'models.X' is half of a path to a class, as MMEngine writes it for configs with classes: the host follows it
        if component is None and scope in (None, self.scope) and nearest_name(name):
            raise KeyError(f'mmcausal has no component {name!r}{nearest_name(name)}')
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
