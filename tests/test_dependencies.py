"""mmcausal and mmcausal.functional need torch alone."""
import re
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize('host, module', [('mmengine', 'registry'), ('mmpretrain', 'models.deconfound_head'),
                                          ('mmpretrain', 'datasets.cifar_lt'), ('mmcv', 'models.resnet32')])
def test_missing_or_old_host_is_named(host, module):
    missing = run(MISSING.format(host=host, module=module))
    assert re.search(rf'ImportError: mmcausal needs {host} >= [\d.]+, < [\d.]+ .*found none', missing.stderr)
    old = run(OLD.format(host=host, module=module))
    assert re.search(rf'ImportError: mmcausal needs {host} >= .*found {host} 0.1.2', old.stderr), old.stderr


def test_missing_mmpretrain_leaves_the_layer():
    code = MISSING.format(host='mmpretrain', module='models') + 'print(mmcausal.models.__all__)'
    result = run(code)
    assert 'DeconfoundLinear' in result.stdout and 'DeconfoundHead' not in result.stdout, result.stderr
    result = run(MISSING.format(host='mmpretrain', module='models') + 'from mmcausal.models import DeconfoundHead')
    assert 'ImportError: mmcausal needs mmpretrain' in result.stderr
