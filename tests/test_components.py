"""The public names: found lazily, the same as in the rooms, and helpful when they are not there."""
import subprocess
import sys
from importlib import import_module

import pytest

import mmcausal
from mmcausal import components
from mmcausal.registry import HOOKS, MODELS


def test_every_name_is_found_where_the_index_says():
    for name, module in components.MODULE_OF.items():
        component = getattr(mmcausal, name)
        assert component is getattr(import_module(module), name)
    assert set(components.MODULE_OF) <= set(dir(mmcausal)) and set(components.MODULE_OF) <= set(mmcausal.__all__)


@pytest.mark.parametrize('package', ['models', 'hooks', 'datasets', 'evaluation', 'analysis'])
def test_the_index_has_every_class_of_a_package(package):
    module = import_module(f'mmcausal.{package}')
    assert getattr(mmcausal, package) is module
    classes = {name for name in module.__all__ if isinstance(getattr(module, name), type)}
    assert classes <= set(components.MODULE_OF), classes - set(components.MODULE_OF)
    assert len(module.__all__) == len(set(module.__all__))


def test_every_layer_and_loss_is_registered():
    names = [*components.MODULES['mmcausal.models.layers'], *components.MODULES['mmcausal.models.losses']]
    for name in names:
        assert MODELS.get(f'mmcausal.{name}') is getattr(mmcausal, name)
    assert MODELS.get('mmcausal.BalancedSoftmaxLoss') is mmcausal.LogitAdjustedLoss


def from_package(package, name):
    return getattr(package, name)


def test_paths_of_classes_are_found():
    """MMEngine dumps a config with classes, in Python style, with their paths."""
    from mmengine.registry import MODELS as ROOT_MODELS

    from mmcausal.models import DeconfoundHead, SmallConvNet
    for kind in (SmallConvNet, DeconfoundHead):
        for path in (f'mmcausal.models.{kind.__name__}', f'{kind.__module__}.{kind.__name__}'):
            assert ROOT_MODELS.get(path) is kind


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(AttributeError, match="module 'mmcausal' has no attribute 'DeconfoundHed'; did you mean "
                       "'DeconfoundHead'"):
        from_package(mmcausal, 'DeconfoundHed')
    with pytest.raises(AttributeError, match="'mmcausal.models' has no attribute 'OLTRHaed'; did you mean 'OLTRHead'"):
        from_package(mmcausal.models, 'OLTRHaed')
    with pytest.raises(ImportError, match='cannot import name'):
        from mmcausal import Nonsense  # noqa: F401
    with pytest.raises(KeyError, match="mmcausal has no component 'HeadDirectonHook'; did you mean 'HeadDirectionHook"):
        HOOKS.build(dict(type='mmcausal.HeadDirectonHook'))
    with pytest.raises(KeyError, match='mmcausal.Xyz is not in the'):
        HOOKS.build(dict(type='mmcausal.Xyz'))
    with pytest.raises(KeyError, match='mmcausal.DeconfoundHead is not in the hook registry'):  # a model is not a hook
        HOOKS.build(dict(type='mmcausal.DeconfoundHead'))


def test_import_stays_light():
    code = ('import mmcausal, sys; from mmcausal import functional; print(sorted({name.split(".")[0] for name in '
            'sys.modules} & {"mmengine", "mmcv", "mmpretrain", "mmdet", "matplotlib", "cv2"}))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == '[]', done.stderr
