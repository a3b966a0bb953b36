"""Mutants of a Python module: changes of its syntax tree in one place, for :mod:`mutants`."""
import ast
import copy
from typing import Iterator, NamedTuple, Optional, Sequence

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
        for index, decorator in enumerate(node.decorator_list):
            if 'register_module' in ast.unparse(decorator):
                continue  # the class in place is registered already
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
