"""Change the code in one place at a time, and see whether a test notices.

Each mutant is one change of one file: a comparison, an operator, a constant, a condition, a decorator, a call or a
statement that is left out. Messages stay. pytest collects the tests of the file once; for each mutant, a fork of that
process puts the changed functions and methods in place, and runs the tests from the quickest to the slowest until one
fails. A mutant that no test notices survives: a gap in the tests, or a change without effect. Needs Python 3.9.

    python benchmarks/mutants.py docs/results/mutants.json
    python benchmarks/mutants.py OUT.json --files mmcausal/functional.py
"""
import argparse
import ast
import json
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Dict, Iterator, List, Optional

import pytest
from hypothesis import settings
from mutations import mutants

from mmcausal.analysis import provenance
from mmcausal.files import write_text

ROOT = Path(__file__).resolve().parents[1]
LAYERS = 'mmcausal/models/layers'
STATE_TESTS = ['tests/models/test_not_finite.py',
               *(f'tests/models/layers/test_{name}.py' for name in
                 ('observed_linear', 'tde_linear', 'detection_linear', 'checked_linear'))]
TESTS: Dict[str, List[str]] = {
    'mmcausal/functional.py': ['tests/test_functional.py', 'tests/test_functional_properties.py'],
    f'{LAYERS}/observed_linear.py': STATE_TESTS,
    f'{LAYERS}/tde_linear.py': [*STATE_TESTS, 'tests/models/layers/test_folded_linear.py',
                                'tests/models/layers/test_tracing.py', 'tests/models/layers/test_arguments.py',
                                'tests/models/layers/test_deconfound_linear.py'],
    f'{LAYERS}/checked_linear.py': STATE_TESTS,
    f'{LAYERS}/logits.py': ['tests/models/layers/test_logits.py'],
    f'{LAYERS}/deconfound_linear.py': ['tests/models/layers/test_deconfound_linear.py',
                                       'tests/models/layers/test_arguments.py', 'tests/test_wrong_arguments.py'],
    f'{LAYERS}/detection_linear.py': [*STATE_TESTS, 'tests/models/layers/test_arguments.py',
                                      'tests/models/layers/test_folded_linear.py',
                                      'tests/test_wrong_arguments.py', 'tests/models/roi_heads/test_tde_roi_heads.py'],
    f'{LAYERS}/folded_linear.py': ['tests/models/layers/test_folded_linear.py', 'tests/models/layers/test_tracing.py'],
    f'{LAYERS}/normalized_product.py': ['tests/models/layers/test_normalized_product.py'],
    f'{LAYERS}/decoupled_linears.py': ['tests/models/layers', 'tests/test_wrong_arguments.py'],
    f'{LAYERS}/logit_adjusted_linears.py': ['tests/models/layers', 'tests/test_wrong_arguments.py'],
    'mmcausal/hooks/head_direction_hook.py': ['tests/hooks/test_head_direction_log.py',
                                              'tests/hooks/test_head_direction_hook.py',
                                              'tests/hooks/test_diverged_training.py'],
}
OPTIONS = ['-q', '-s', '-p', 'no:cacheprovider', '--disable-warnings']
EXAMPLES = 25  # of each property of hypothesis: a survivor would cost all 200
SKIPPED = 'not ranks and not wrapped_model and not tools'  # these start processes of their own, without the mutant


def put_in_place(module: ModuleType, tree: ast.Module) -> None:
    """Execute a changed module, and give its functions and methods to everybody who has imported the old ones."""
    before = dict(vars(module))
    for registry in (each for each in before.values() if hasattr(each, 'register_module')):
        registry.register_module = lambda *args, **kwargs: lambda component: component  # it is there already
    exec(compile(tree, str(module.__file__), 'exec'), vars(module))
    for name, new in list(vars(module).items()):
        old = before.get(name)
        if isinstance(old, type) and old.__module__ == module.__name__:
            _change_class(old, new)
            setattr(module, name, old)
        elif old is not new and name in before and not name.startswith('__'):
            for other in list(sys.modules.values()):
                if getattr(other, '__dict__', {}).get(name) is old:
                    setattr(other, name, new)


def _change_class(old: type, new: type) -> None:
    for name, value in list(vars(new).items()):
        if name in ('__dict__', '__weakref__'):
            continue
        for function in _functions(value):
            for cell in function.__closure__ or ():
                if cell.cell_contents is new:  # the class that super() means
                    cell.cell_contents = old
        setattr(old, name, value)


def _functions(value: object) -> Iterator[FunctionType]:
    """Yield the functions in a method, a property or a decorated method."""
    for function in (getattr(value, 'fget', None), getattr(value, '__wrapped__', None), value):
        if isinstance(function, FunctionType):
            yield function


class Judge:
    """Plugin of pytest that runs the collected tests on each mutant of a file.

    Args:
        path: File to change.

    Attributes:
        result: Numbers of mutants by outcome, and the survivors.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.result: dict = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        source = (ROOT / self.path).read_text(encoding='utf-8')
        for item in session.items:
            test = getattr(item, 'obj', None)
            if test is not None and hasattr(test, 'hypothesis'):
                test._hypothesis_internal_use_settings = settings(test._hypothesis_internal_use_settings,
                                                                  max_examples=EXAMPLES)
        module = import_module(self.path[:-len('.py')].replace('/', '.'))
        start = time.monotonic()
        read, write = os.pipe()
        if self.outcome(session, module, ast.parse(source), 1e9, write) != 'survived':
            raise SystemExit(f'the tests of {self.path} must pass before it is changed')
        limit = 60 + 5 * (time.monotonic() - start)
        with os.fdopen(read) as durations:
            seconds = json.loads(durations.readline())
        session.items = [item for _, item in sorted(zip(seconds, session.items), key=lambda pair: pair[0])]
        self.result = {'killed': 0, 'timed out': 0, 'survived': 0, 'survivors': []}
        for mutant in mutants(source):
            outcome = self.outcome(session, module, mutant.tree, limit)
            self.result[outcome] += 1
            if outcome == 'survived':
                self.result['survivors'].append(dict(line=mutant.line, before=mutant.before, after=mutant.after))
                print(f'{self.path}:{mutant.line}  {mutant.before}  ->  {mutant.after or "left out"}', flush=True)
        return True

    def outcome(self, session: pytest.Session, module: ModuleType, tree: ast.Module, limit: float,
                write: Optional[int] = None) -> str:
        """Run the tests in a fork, and return ``'killed'``, ``'survived'`` or ``'timed out'``."""
        child = os.fork()
        if not child:
            run_tests(session, module, tree, write)
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return 'survived' if status == 0 else 'killed'
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return 'timed out'


def run_tests(session: pytest.Session, module: ModuleType, tree: ast.Module, write: Optional[int]) -> None:
    """Run the tests on a mutant, and leave the process with status 0 if all pass."""
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    try:
        put_in_place(module, tree)
        seconds = []
        for item, following in zip(session.items, [*session.items[1:], None]):
            start = time.monotonic()
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds.append(time.monotonic() - start)
            if session.testsfailed:
                os._exit(1)
        if write is not None:
            os.write(write, (json.dumps(seconds) + '\n').encode())
        os._exit(0)
    finally:
        os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='JSON file; files that are not run keep their results in it')
    parser.add_argument('--files', nargs='+', default=list(TESTS), choices=list(TESTS), metavar='FILE',
                        help='files to change; by default all')
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    results = json.loads(args.out.read_text(encoding='utf-8')) if args.out.exists() else {}
    for path in args.files:
        judge, start = Judge(path), time.monotonic()
        pytest.main([*OPTIONS, '-k', SKIPPED, *TESTS[path]], plugins=[judge])
        results[path] = judge.result
        print(f'{path}: {judge.result["killed"]} killed, {judge.result["timed out"]} timed out, '
              f'{judge.result["survived"]} survived in {time.monotonic() - start:.0f} s', flush=True)
        results['source'] = provenance()
        write_text(args.out, json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    main()
