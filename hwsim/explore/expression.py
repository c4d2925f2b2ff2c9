"""Constraints between fields: `array.rows * array.cols <= 65536`, `memory.buffer.size <= '8 MiB'`.

A Python expression is parsed, never run: a whitelist of its nodes is evaluated over whole columns of designs, with
the dimension of every quantity checked, so that a size is never compared with a frequency.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from hwsim.core.errors import HwsimError, Location, SpecError
from hwsim.core.units import Dimension, parse, unit_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

_ONE: Dimension = (0, 0, 0, 0, 0, 0)
_EXAMPLE = "a comparison such as `array.rows * array.cols <= 65536` or `memory.buffer.size <= '8 MiB'`"
_QUOTED = re.compile(r"""('[^']*'|"[^"]*")""")
_LIST_INDEX = re.compile(r"(?<=[A-Za-z_\]])\.(\d+)(?=\.|\b)")
_QUANTITY = re.compile(r"\s*[+-]?[\d._]+(?:[eE][+-]?\d+)?\s*(.*?)\s*$")


@dataclass(frozen=True)
class Values:
    """One value per design (or one for all) of a field, in the SI unit `unit`; text and truth values have None."""

    values: Any
    unit: str | None


@dataclass(frozen=True)
class _Operand:
    """A sub-expression's value per design: a number with a dimension, or (dimension None) text or truth."""

    value: Any
    dimension: Dimension | None
    text: str


@dataclass(frozen=True)
class _Number(_Operand):
    """An operand that is a number."""

    dimension: Dimension


@dataclass(frozen=True)
class Constraint:
    """A parsed comparison, the fields it names, and where it was written."""

    text: str
    tree: ast.expr
    paths: tuple[str, ...]
    where: Location | str

    def holds(self, fields: Mapping[str, Values]) -> Mask:
        """Which designs meet the constraint; SpecError where dimensions do not agree."""
        import numpy as np

        with np.errstate(all="ignore"):
            result = _Evaluator(self, fields).visit(self.tree)
        if result.dimension is not None or np.asarray(result.value).dtype != bool:
            raise _fault(self.text, self.where, "is not true or false")
        mask: Mask = np.asarray(result.value)
        return mask


def parse_constraint(text: str, where: Location | str) -> Constraint:
    """Parse a constraint; SpecError for anything but a comparison of fields, numbers and quoted quantities."""
    pieces = _QUOTED.split(text)
    source = "".join(piece if index % 2 else _LIST_INDEX.sub(r"[\1]", piece) for index, piece in enumerate(pieces))
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _fault(text, where, f"cannot be read ({getattr(error, 'msg', error)})") from error
    paths: list[str] = []
    _check(tree, text, where, paths)
    return Constraint(text, tree, tuple(dict.fromkeys(paths)), where)


def _fault(text: str, where: Location | str, what: str, remedy: str | None = None) -> SpecError:
    return SpecError(f"constraint {text!r} {what}", where=where, got=text, expected=_EXAMPLE, remedy=remedy)


_FUNCTIONS = ("abs", "max", "min")
_PLAIN = (
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult,
    ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In,
    ast.NotIn, ast.List, ast.Tuple, ast.Load,
)  # fmt: skip


def _check(node: ast.AST, text: str, where: Location | str, paths: list[str]) -> None:
    path = _dotted(node)
    if path is not None:
        paths.append(path)
        return
    if isinstance(node, ast.Constant):
        if not isinstance(node.value, (bool, int, float, str)):
            raise _fault(text, where, f"holds {node.value!r}")
        return
    if isinstance(node, ast.Call):
        if not (isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and node.args and not node.keywords):
            raise _fault(text, where, f"calls {ast.unparse(node.func)}", f"only {', '.join(_FUNCTIONS)} can be called")
        children: list[ast.AST] = list(node.args)
    elif isinstance(node, _PLAIN):
        children = list(ast.iter_child_nodes(node))
    else:
        raise _fault(text, where, f"holds {ast.unparse(node)!r}, which is not allowed")
    for child in children:
        _check(child, text, where, paths)


def _dotted(node: ast.AST) -> str | None:
    """`a.b[0].c` as the path `a.b.0.c`; None for any other node."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = _dotted(node.value)
        return None if head is None else f"{head}.{node.attr}"
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
        head = _dotted(node.value)
        return None if head is None else f"{head}.{node.slice.value}"
    return None


class _Evaluator:
    """Evaluates a checked tree over columns; one method per kind of node."""

    def __init__(self, constraint: Constraint, fields: Mapping[str, Values]) -> None:
        self.constraint = constraint
        self.fields = fields

    def visit(self, node: ast.expr) -> _Operand:
        path = _dotted(node)
        if path is not None:
            return self._field(path)
        kind = type(node).__name__.lower()
        operand: _Operand = getattr(self, f"_{kind}")(node)
        return operand

    def _fault(self, what: str) -> SpecError:
        return _fault(self.constraint.text, self.constraint.where, what)

    def _field(self, path: str) -> _Operand:
        import numpy as np

        found = self.fields[path]
        values = np.asarray(found.values)
        if values.dtype == object:  # None (not set) among numbers: no comparison with it holds
            values = np.array([np.nan if v is None else v for v in np.atleast_1d(values)])
        if values.dtype.kind not in "iuf":
            return _Operand(values, None, path)
        scale, dimension = unit_of(found.unit or "")
        return _Operand(values * float(scale), dimension, path)

    def _constant(self, node: ast.Constant) -> _Operand:
        value = node.value
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return _Operand(value, _ONE if number else None, repr(value))

    def _quantity(self, operand: _Operand) -> _Number:
        """A number; quoted text is read as a quantity."""
        if operand.dimension is not None:
            return _Number(operand.value, operand.dimension, operand.text)
        match = _QUANTITY.match(operand.value) if isinstance(operand.value, str) else None
        if match is None:
            raise self._fault(f"uses {operand.text} as a number")
        try:
            scale, dimension = unit_of(match[1])
            return _Number(parse(operand.value, match[1]) * scale, dimension, operand.text)
        except HwsimError as error:
            raise self._fault(f"holds a quantity that cannot be read: {error.message}") from error

    def _binop(self, node: ast.BinOp) -> _Operand:
        import numpy as np

        left, right = self._quantity(self.visit(node.left)), self._quantity(self.visit(node.right))
        a, b, text = left.value, right.value, ast.unparse(node)
        if isinstance(node.op, ast.Pow):
            if right.dimension != _ONE or not isinstance(b, int):
                raise self._fault(f"has the exponent {right.text}, which is not a whole number")
            return _Operand(np.asarray(a, dtype=float) ** b, _power(left, b), text)
        if isinstance(node.op, ast.Mult):
            return _Operand(a * b, _combine(left, right, 1), text)
        if isinstance(node.op, ast.Div):
            return _Operand(np.divide(a, b), _combine(left, right, -1), text)
        self._same(left, right)
        if isinstance(node.op, ast.FloorDiv):
            return _Operand(np.floor_divide(a, b), _ONE, text)
        if isinstance(node.op, ast.Mod):
            return _Operand(np.mod(a, b), left.dimension, text)
        return _Operand(a + b if isinstance(node.op, ast.Add) else a - b, left.dimension, text)

    def _unaryop(self, node: ast.UnaryOp) -> _Operand:
        import numpy as np

        operand = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return _Operand(np.logical_not(self._truth(operand)), None, ast.unparse(node))
        operand = self._quantity(operand)
        sign = -1 if isinstance(node.op, ast.USub) else 1
        return _Operand(sign * operand.value, operand.dimension, ast.unparse(node))

    def _boolop(self, node: ast.BoolOp) -> _Operand:
        import numpy as np

        join: Callable[[Any, Any], Any] = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        parts = [self._truth(self.visit(value)) for value in node.values]
        return _Operand(reduce(join, parts), None, ast.unparse(node))

    def _truth(self, operand: _Operand) -> Any:
        import numpy as np

        if operand.dimension is not None or np.asarray(operand.value).dtype != bool:
            raise self._fault(f"uses {operand.text} as true or false")
        return operand.value

    def _call(self, node: ast.Call) -> _Operand:
        import numpy as np

        name = ast.unparse(node.func)
        operands = [self._quantity(self.visit(argument)) for argument in node.args]
        for other in operands[1:]:
            self._same(operands[0], other)
        if name == "abs":
            return _Operand(np.abs(operands[0].value), operands[0].dimension, ast.unparse(node))
        pick: Callable[[Any, Any], Any] = np.minimum if name == "min" else np.maximum
        return _Operand(reduce(pick, [o.value for o in operands]), operands[0].dimension, ast.unparse(node))

    def _compare(self, node: ast.Compare) -> _Operand:
        import numpy as np

        left_node, result = node.left, np.asarray(True)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            result = np.logical_and(result, self._compare_two(op, left_node, right_node))
            left_node = right_node
        return _Operand(result, None, ast.unparse(node))

    def _compare_two(self, op: ast.cmpop, left_node: ast.expr, right_node: ast.expr) -> Any:
        import numpy as np

        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right_node, (ast.List, ast.Tuple)):
                raise self._fault("needs a list after `in`")
            hits = [self._compare_two(ast.Eq(), left_node, item) for item in right_node.elts]
            found = reduce(np.logical_or, hits, np.asarray(False))
            return np.logical_not(found) if isinstance(op, ast.NotIn) else found
        left, right = self.visit(left_node), self.visit(right_node)
        if left.dimension is not None or right.dimension is not None:
            numbers = self._quantity(left), self._quantity(right)
            self._same(*numbers)
            left, right = numbers
        elif not isinstance(op, (ast.Eq, ast.NotEq)):
            raise self._fault(f"orders {left.text} and {right.text}, which are not numbers")
        return _COMPARE[type(op)](np.asarray(left.value), np.asarray(right.value))

    def _list(self, node: ast.List) -> _Operand:
        raise self._fault("has a list without `in`")

    _tuple = _list

    def _same(self, left: _Number, right: _Number) -> None:
        zero = any(not hasattr(side.value, "shape") and side.value == 0 for side in (left, right))
        if left.dimension != right.dimension and not zero:
            raise self._fault(f"puts {left.text} and {right.text} together, which have different units")


_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


def _combine(left: _Number, right: _Number, sign: int) -> Dimension:
    return tuple(a + sign * b for a, b in zip(left.dimension, right.dimension, strict=True))  # type: ignore[return-value]


def _power(operand: _Number, exponent: int) -> Dimension:
    return tuple(exponent * part for part in operand.dimension)  # type: ignore[return-value]
