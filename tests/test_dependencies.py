"""mmcausal and mmcausal.functional need torch alone."""
import re
import subprocess
import sys

import pytest

from mmcausal.hosts import require_host

HOSTS = ('mmengine', 'mmcv', 'mmpretrain', 'mmdet')


def run(code):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)


def loaded_hosts(imported):
    result = run(f'import {imported}, sys; print([h for h in {HOSTS} if h in sys.modules])')
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize('module', ['mmcausal', 'mmcausal.functional', 'mmcausal.hosts'])
def test_imports_no_host(module):
    assert loaded_hosts(module) == '[]'


def test_the_test_above_can_fail():
    assert 'mmengine' in loaded_hosts('mmcausal.registry')


# A host that is not there, and one that is too old
MISSING = '''
import importlib.util as u, sys
find = u.find_spec
u.find_spec = lambda name, *a: None if name == "{host}" else find(name, *a)
import mmcausal.{module}
'''
OLD = '''
import {host}
{host}.__version__ = "0.1.2"
import mmcausal.{module}
'''


@pytest.mark.parametrize('host, module', [('mmengine', 'registry'), ('mmpretrain', 'models.heads'),
                                          ('mmpretrain', 'datasets.cifar_lt'), ('mmcv', 'models.backbones')])
def test_missing_or_old_host_is_named(host, module):
    missing = run(MISSING.format(host=host, module=module))
    assert re.search(rf'ImportError: mmcausal needs {host}>=[\d.]+,<[\d.]+ .*it is not installed', missing.stderr)
    old = run(OLD.format(host=host, module=module))
    assert re.search(rf'ImportError: mmcausal needs {host}>=.*found {host} 0.1.2', old.stderr), old.stderr


@pytest.mark.parametrize('host, fork', [('mmengine', 'onedl-mmengine'), ('mmpretrain', 'onedl-mmpretrain'),
                                        ('mmdet', 'onedl-mmdetection')])
def test_a_host_overwritten_by_its_fork_is_named(host, fork, tmp_path, monkeypatch):
    for name in (host, fork):
        metadata = tmp_path / f'{name.replace("-", "_")}-1.dist-info' / 'METADATA'
        metadata.parent.mkdir()
        metadata.write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1\n', encoding='utf-8')
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match=f'pip uninstall {host} {fork}, then install one of them'):
        require_host(host)


# A config with a component of a missing host
BUILD = """
from mmengine.registry import {registry} as registry, init_default_scope
registry.build(dict(type='mmcausal.{name}'))
"""


@pytest.mark.parametrize('host, registry, name', [
    ('mmpretrain', 'MODELS', 'DeconfoundHead'), ('mmpretrain', 'DATASETS', 'LongTailedCIFAR100'),
    ('mmdet', 'MODELS', 'TDECascadeRoIHead'), ('mmdet', 'DATASETS', 'LVISV1Dataset'),
    ('mmdet', 'METRICS', 'LVISMetric'), ('mmdet', 'HOOKS', 'DetectorCheckHook')])
def test_a_config_hears_of_a_missing_host(host, registry, name):
    result = run(MISSING.format(host=host, module='registry') + BUILD.format(registry=registry, name=name))
    assert re.search(rf'ImportError: mmcausal needs {host}>=.*it is not installed', result.stderr), result.stderr


@pytest.mark.parametrize('package', ['hooks', 'datasets', 'evaluation', 'models', 'registry'])
def test_packages_name_a_missing_mmengine(package):
    name = dict(datasets='ClassPowerSampler', evaluation='ShotAccuracy', models='DeconfoundLinear',
                hooks='HeadDirectionHook', registry='MODELS')[package]
    result = run(MISSING.format(host='mmengine', module='hosts') + f'from mmcausal.{package} import {name}')
    assert 'ImportError: mmcausal needs mmengine>=' in result.stderr, result.stderr


@pytest.mark.parametrize('spoil', [
    'import mmdet; mmdet.__version__ = "2.28.2"',
    'find = u.find_spec; hosts.find_spec = lambda name, *a: None if name == "mmcv._ext" else find(name, *a)',
    'find = u.find_spec; hosts.find_spec = lambda name, *a: None if name == "mmdet" else find(name, *a)'])
def test_classification_needs_no_mmdet(spoil):
    code = f"""
import importlib.util as u
from mmcausal import hosts
{spoil}
from mmcausal.models import DeconfoundHead
from mmcausal.hooks import HeadDirectionHook
from mmcausal.datasets import LongTailedDigits
from mmcausal.evaluation import ShotAccuracy
import mmcausal.models
print("TDECascadeRoIHead" in mmcausal.models.__all__)
from mmcausal.models import TDECascadeRoIHead
"""
    result = run(code)
    assert result.stdout.splitlines()[-1] == 'False', result.stderr  # after lines of the hosts
    assert re.search(r'ImportError: mmcausal needs (mmdet|mmcv)', result.stderr), result.stderr


def test_missing_mmpretrain_leaves_the_layer():
    code = MISSING.format(host='mmpretrain', module='models') + 'print(mmcausal.models.__all__)'
    result = run(code)
    assert 'DeconfoundLinear' in result.stdout and 'DeconfoundHead' not in result.stdout, result.stderr
    result = run(MISSING.format(host='mmpretrain', module='models') + 'from mmcausal.models import DeconfoundHead')
    assert 'ImportError: mmcausal needs mmpretrain' in result.stderr
