"""The mistakes that `mutants.py` plants: one small edit each to a source file, found in its syntax tree.

Kinds: another comparison, arithmetic or boolean operator; a condition negated; a `not` or a minus lost; a number,
a truth value or a name in quotes changed; a statement removed (a call, an update, a raise, a returned value); the
first two arguments swapped; a keyword argument forgotten.

Left alone is what no test should pin: annotations, docstrings, decorators, the words of messages (f-strings, and
all that a `raise` says), `__all__`, and the keywords `strict` and `encoding`.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "mutants_of"]

COMPARISONS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
UNPINNED = {"strict", "encoding"}
SYMMETRIC = {"min", "max", "minimum", "maximum", "equal", "gcd"}  # the order changes nothing
UNSEEN_FIELDS = {"annotation", "returns", "decorator_list", "type_params"}


@dataclass(frozen=True)
class Mutant:
    """One edit: `source[start:end]` (bytes) becomes `text`."""

    file: str
    function: str  # with its class, or "" at the top of the module
    line: int
    kind: str
    before: str
    after: str
    start: int
    end: int
    text: str
    nth: int  # which of several equal edits within the function

    @property
    def key(self) -> str:
        """The same wherever the function moves within its file."""
        parts = (self.file, self.function, self.kind, self.before, self.after, str(self.nth))
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]

    def applied_to(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutants_of(source: bytes, file: str) -> list[Mutant]:
    """Every mutant of a file that is valid Python, in the order of its text."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found: list[Mutant] = []
    seen: dict[tuple[str, str, str, str], int] = {}
    for function, node, kind, text, told in _walk(ast.parse(source), ""):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before = told or _short(source[start:end].decode())
        after = "" if told else _short(text)
        same = (function, kind, before, after)
        seen[same] = nth = seen.get(same, -1) + 1
        mutant = Mutant(file, function, node.lineno, kind, before, after, start, end, text, nth)
        try:
            compile(mutant.applied_to(source), file, "exec")
        except SyntaxError:  # such as a `return` outside of what may be returned from
            continue
        found.append(mutant)
    return sorted(found, key=lambda m: (m.start, m.end, m.kind, m.text))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 90 else text[:87] + "..."


Edit = tuple[str, ast.AST, str, str, str]


def _walk(node: ast.AST, function: str) -> Iterator[Edit]:
    """The edits of a node and of all below it that is not left alone."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        function = f"{function}.{node.name}".lstrip(".")
    if _left_alone(node):
        return
    for kind, text, told in _edits(node):
        yield function, node, kind, text, told
    for condition in _conditions(node):
        yield function, condition, "condition negated", f"(not {_text(condition)})", ""
    if isinstance(node, ast.Raise):  # what it says is a message
        return
    for name, value in ast.iter_fields(node):
        if name in UNSEEN_FIELDS:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, function)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, (ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.keyword):
        return node.arg in UNPINNED
    if isinstance(node, ast.Expr):  # a docstring
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id == "__all__" or _calls(node.value, "TypeVar")
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _edits(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    """(kind, new text of the node, how to tell it if not by the text before and after)."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            ops = [*node.ops[:i], COMPARISONS[type(op)](), *node.ops[i + 1 :]]
            yield "comparison", _text(ast.Compare(node.left, ops, node.comparators)), ""
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield "operator", _text(ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)), ""
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "boolean", _text(ast.BoolOp(other, node.values)), ""
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield "sign lost", _text(node.operand), ""
    elif isinstance(node, ast.Constant):
        if (changed := _changed(node.value)) is not None:
            yield "constant", repr(changed), ""
    elif isinstance(node, ast.Call):
        yield from _edits_of_call(node)
    elif isinstance(node, ast.stmt):
        yield from _edits_of_statement(node)


def _conditions(node: ast.AST) -> list[ast.expr]:
    """The conditions of a node whose negation is not among the other edits already."""
    if isinstance(node, ast.comprehension):
        found = node.ifs
    else:
        found = [node.test] if isinstance(node, (ast.If, ast.While, ast.IfExp)) else []
    ordered = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
    return [
        test
        for test in found
        if not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not))
        and not (isinstance(test, ast.Compare) and not isinstance(test.ops[0], ordered))
    ]


def _text(node: ast.AST) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"


def _changed(value: object) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 2 * value or 1.0
    if isinstance(value, str) and value.isidentifier():
        return value + "X"
    return None


def _edits_of_call(call: ast.Call) -> Iterator[tuple[str, str, str]]:
    if len(call.args) > 1 and not any(isinstance(a, ast.Starred) for a in call.args):
        args = [call.args[1], call.args[0], *call.args[2:]]
        name = ast.unparse(call.func).rpartition(".")[2]
        if name not in SYMMETRIC and ast.dump(args[0]) != ast.dump(args[1]):
            yield "arguments swapped", _text(ast.Call(call.func, args, call.keywords)), ""
    for i, keyword in enumerate(call.keywords):
        if keyword.arg and keyword.arg not in UNPINNED:
            rest = [*call.keywords[:i], *call.keywords[i + 1 :]]
            told = f"{_short(ast.unparse(call.func))}(..., {_short(ast.unparse(keyword))})"
            yield "keyword forgotten", _text(ast.Call(call.func, call.args, rest)), told


def _edits_of_statement(node: ast.stmt) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.IfExp)):
        yield "statement removed", "pass", ""
    elif isinstance(node, (ast.AugAssign, ast.Delete, ast.Raise, ast.Continue, ast.Break)):
        yield "statement removed", "pass", ""
        if isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC:
            other = ast.AugAssign(node.target, ARITHMETIC[type(node.op)](), node.value)
            yield "operator", ast.unparse(ast.fix_missing_locations(other)), ""
    elif isinstance(node, ast.Assign):
        if all(isinstance(t, (ast.Attribute, ast.Subscript)) for t in node.targets):
            yield "statement removed", "pass", ""
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "statement removed", "return None", ""


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
