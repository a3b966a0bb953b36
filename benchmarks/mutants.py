"""Change the code in one place at a time, and see whether a test notices.

Each mutant is one change of one file: a comparison, an operator, a constant, a condition, a decorator, a call or a
statement that is left out. The tests of that file run on it in a fork of this process, which has imported PyTorch and
the hosts already, and stop at the first failure. A mutant that no test notices survives; it shows a gap in the tests,
or it changes nothing. Only the text of messages is left alone. Needs Python 3.9.

    python benchmarks/mutants.py docs/results/mutants.json
    python benchmarks/mutants.py OUT.json --files mmcausal/functional.py
"""
import argparse
import ast
import copy
import importlib.abc
import importlib.util
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence

ROOT = Path(__file__).resolve().parents[1]
LAYERS = 'mmcausal/models/layers'
LAYER_TESTS = ['tests/models/layers', 'tests/models/test_not_finite.py', 'tests/models/test_deployed_classifier.py']
# Tests of each file, the quick ones first
TESTS: Dict[str, List[str]] = {
    'mmcausal/functional.py': ['mmcausal/functional.py', 'tests/test_functional.py',
                               'tests/models/test_not_finite.py', 'tests/test_functional_properties.py'],
    f'{LAYERS}/checked_linear.py': ['tests/models/layers/test_checked_linear.py', *LAYER_TESTS],
    f'{LAYERS}/observed_linear.py': ['tests/models/layers/test_observed_linear.py', *LAYER_TESTS],
    f'{LAYERS}/tde_linear.py': ['tests/models/layers/test_observed_linear.py', *LAYER_TESTS],
    f'{LAYERS}/logits.py': ['tests/models/test_not_finite.py'],
    f'{LAYERS}/deconfound_linear.py': ['tests/models/layers/test_deconfound_linear.py', *LAYER_TESTS],
    f'{LAYERS}/detection_linear.py': ['tests/models/layers/test_detection_linear.py', *LAYER_TESTS,
                                      'tests/models/roi_heads/test_tde_roi_heads.py'],
    f'{LAYERS}/decoupled_linears.py': ['tests/models/layers/test_decoupled_linears.py', *LAYER_TESTS],
    'mmcausal/hooks/head_direction_hook.py': ['tests/hooks/test_head_direction_log.py',
                                              'tests/hooks/test_head_direction_hook.py',
                                              'tests/hooks/test_diverged_training.py'],
}
SKIPPED = 'not ranks and not wrapped_model and not tools'  # these start processes of their own, without the mutant
COMPARISONS = {ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
               ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq, ), ast.NotEq: (ast.Eq, ), ast.Is: (ast.IsNot, ),
               ast.IsNot: (ast.Is, ), ast.In: (ast.NotIn, ), ast.NotIn: (ast.In, )}
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
             ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
WITHOUT_EFFECT = ('detach', 'abs', 'clamp', 'to', 'cpu', 'clone', 'squeeze', 'long', 'any', 'all')  # calls to leave out


class Mutant(NamedTuple):
    """A change of one line, and the module with it."""
    line: int
    before: str
    after: str
    tree: ast.Module


def variants(node: ast.AST) -> Iterator[Optional[ast.AST]]:
    """Yield what may take the place of a node; ``None`` leaves a statement out."""
    if isinstance(node, ast.Compare):
        for operator in COMPARISONS.get(type(node.ops[0]), ()):
            yield ast.Compare(node.left, [operator(), *node.ops[1:]], node.comparators)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
    if isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
        yield ast.AugAssign(node.target, OPERATORS[type(node.op)](), node.value)
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
    if isinstance(node, (ast.If, ast.IfExp)):
        yield _replaced(node, 'test', ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, (ast.If, ast.Expr, ast.AugAssign)) and not isinstance(getattr(node, 'value', 0), ast.Yield):
        yield None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WITHOUT_EFFECT:
        yield node.func.value
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        for index in range(len(node.decorator_list)):
            yield _replaced(node, 'decorator_list', node.decorator_list[:index] + node.decorator_list[index + 1:])
    if isinstance(node, ast.Constant):
        yield from _other_constants(node.value)


def _replaced(node: ast.AST, field: str, value: object) -> ast.AST:
    changed = copy.copy(node)
    setattr(changed, field, value)
    return changed


def _other_constants(value: object) -> Iterator[ast.Constant]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1)
    elif isinstance(value, str):
        yield ast.Constant(f'X{value}')


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    tree = ast.parse(source)
    for path in _paths(tree):
        node = _at(tree, path)
        for variant in variants(node):
            changed = copy.deepcopy(tree)
            parent, (field, index) = _at(changed, path[:-1]), path[-1]
            replacement = ast.Pass() if variant is None else copy.deepcopy(variant)
            if index is None:
                setattr(parent, field, replacement)
            else:
                getattr(parent, field)[index] = replacement
            yield Mutant(node.lineno, _text(node), '' if variant is None else _text(variant),  # type: ignore[attr-defined]
                         ast.fix_missing_locations(changed))


def _text(node: ast.AST) -> str:
    """Return the first line of the code of a node, with its decorators."""
    lines = ast.unparse(node).splitlines()
    return ' '.join(line for line in lines[:lines.index(next(x for x in lines if not x.startswith('@'))) + 1])[:200]


def _paths(node: ast.AST, path: tuple = ()) -> Iterator[tuple]:
    """Yield the way to each node that may change: neither annotations nor docstrings, messages and their text."""
    for field, value in ast.iter_fields(node):
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_left_alone(node, field, child):
                continue
            here = (*path, (field, index))
            if hasattr(child, 'lineno'):
                yield here
            yield from _paths(child, here)


def _is_left_alone(parent: ast.AST, field: str, child: ast.AST) -> bool:
    is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
    is_message = isinstance(child, (ast.JoinedStr, ast.Raise, ast.Import, ast.ImportFrom))
    is_module_list = isinstance(child, ast.Assign) and getattr(child.targets[0], 'id', '') == '__all__'
    is_text = isinstance(parent, ast.Call) and ast.unparse(parent.func).endswith(('warn', 'warning', 'info', 'TypeVar'))
    return field in ('annotation', 'returns') or is_docstring or is_message or is_module_list or (
        is_text and field in ('args', 'keywords'))


def _at(node: ast.AST, path: Sequence[tuple]) -> ast.AST:
    for field, index in path:
        node = getattr(node, field) if index is None else getattr(node, field)[index]
    return node


class MutantImporter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import one module from a changed tree."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path, self.tree = str(ROOT / path), tree
        self.name = path[:-len('.py')].replace('/', '.')

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.path, loader=self)
        return None

    def exec_module(self, module) -> None:  # type: ignore[no-untyped-def]
        exec(compile(self.tree, self.path, 'exec'), module.__dict__)


def run_tests(path: str, tree: ast.Module, limit: float) -> str:
    """Run the tests of a file in a fork, and return ``'killed'``, ``'survived'`` or ``'timed out'``."""
    child = os.fork()
    if not child:
        _test(path, tree)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return 'survived' if status == 0 else 'killed'
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 'timed out'


def _test(path: str, tree: ast.Module) -> None:
    """Run the tests of a file and leave the process with their status."""
    import pytest
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    importer = MutantImporter(path, tree)
    sys.meta_path.insert(0, importer)
    tests = list(dict.fromkeys(TESTS[path]))
    status = 1
    try:
        importlib.import_module(importer.name)  # before pytest's own importer
        status = int(pytest.main(['-x', '-q', '-p', 'no:cacheprovider', '-k', SKIPPED, *tests]))
    finally:
        os._exit(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='JSON file; files that are not run keep their results in it')
    parser.add_argument('--files', nargs='+', default=list(TESTS), choices=list(TESTS), metavar='FILE',
                        help='files to change; by default all')
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for package in ('torch', 'hypothesis', 'mmpretrain.models', 'mmdet.models', 'mmdet.datasets', 'mmengine.runner'):
        importlib.import_module(package)  # once, for all forks
    results = json.loads(args.out.read_text(encoding='utf-8')) if args.out.exists() else {}
    for path in args.files:
        results[path] = judge(path)
        results['versions'] = dict(python=platform.python_version(), torch=sys.modules['torch'].__version__)
        args.out.write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')


def judge(path: str) -> dict:
    """Run the tests of a file on each of its mutants, and return the numbers and the survivors."""
    source = (ROOT / path).read_text(encoding='utf-8')
    start = time.monotonic()
    if run_tests(path, ast.parse(source), 600) != 'survived':
        sys.exit(f'the tests of {path} must pass before it is changed: {" ".join(TESTS[path])}')
    limit = 10 + 3 * (time.monotonic() - start)
    numbers = {'killed': 0, 'timed out': 0, 'survived': 0}
    survivors = []
    for mutant in mutants(source):
        outcome = run_tests(path, mutant.tree, limit)
        numbers[outcome] += 1
        if outcome == 'survived':
            survivors.append(dict(line=mutant.line, before=mutant.before, after=mutant.after))
            print(f'{path}:{mutant.line}  {mutant.before}  ->  {mutant.after or "left out"}', flush=True)
    print(f'{path}: {numbers} in {time.monotonic() - start:.0f} s', flush=True)
    return dict(numbers, survivors=survivors)


if __name__ == '__main__':
    main()
