"""The arrows between the rooms of the package: no cycle, none from the mathematics to a host."""
import ast

import pytest
from helpers.commands import ROOT

PACKAGE = ROOT / 'mmcausal'
MODULES = {'.'.join(path.relative_to(ROOT).with_suffix('').parts).replace('.__init__', ''): path
           for path in PACKAGE.rglob('*.py') if '.mim' not in path.parts}
HOSTS = {'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'numpy', 'matplotlib', 'cv2'}


def imported(path, everywhere=True):
    """Return the modules that a file imports, inside functions too unless ``everywhere`` is false."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
    return names


def room(module):
    """Return the room of a module: a sub-package, or a module of the top level."""
    return '.'.join(module.split('.')[:2])


def arrows():
    graph = {}
    for module, path in MODULES.items():
        targets = {room(name) for name in imported(path) if name in MODULES}
        graph.setdefault(room(module), set()).update(targets - {room(module), 'mmcausal'})
    return graph


def find_cycle(graph):
    """Return the rooms of a cycle, or nothing."""
    done = set()

    def visit(node, trail):
        if node in trail:
            return trail[trail.index(node):]
        if node in done:
            return []
        found = next((cycle for cycle in (visit(target, [*trail, node]) for target in sorted(graph.get(node, ())))
                      if cycle), [])
        done.add(node)
        return found

    return next((cycle for cycle in (visit(node, []) for node in sorted(graph)) if cycle), [])


def test_rooms_have_no_cycle():
    graph = arrows()
    assert 'mmcausal.models' in graph['mmcausal.hooks'] and find_cycle(graph) == []
    graph['mmcausal.functional'].add('mmcausal.hooks')
    assert find_cycle(graph)  # the test above can fail


def without_hosts():
    rooms = [path for name in ('layers', 'losses') for path in (PACKAGE / 'models' / name).glob('*.py')]
    files = ['functional', 'class_prior', 'checks', 'checkpoints', 'components', 'hosts', 'temporary']
    return [path for path in rooms if path.stem != 'eqlv2_loss'] + [PACKAGE / f'{name}.py' for name in files]


@pytest.mark.parametrize('path', without_hosts(), ids=lambda path: path.stem)
def test_mathematics_layers_and_losses_import_no_host(path):
    assert not {name.split('.')[0] for name in imported(path)} & HOSTS


@pytest.mark.parametrize('path', MODULES.values(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_library_mocks_nothing_and_changes_no_path(path):
    assert not any(name.startswith('unittest') for name in imported(path))
    assert 'sys.path' not in path.read_text()


def test_only_the_package_is_packed():
    from setuptools import find_packages
    from setuptools.config.setupcfg import read_configuration
    include = read_configuration(ROOT / 'setup.cfg')['options']['packages']
    assert include and all(name.split('.')[0] == 'mmcausal' for name in include)
    assert set(include) == set(find_packages(str(ROOT), include=['mmcausal*']))
