"""Filters on the columns of a collection: `label == 'cat' and width >= 500`.

The text is parsed by Python's own parser and only the few forms below are computed, column by column with Arrow;
nothing in it is ever executed.

    label == 'cat'            != < <= > >=, also chained: 100 <= width < 500
    label in ('cat', 'dog')   label not in (...)       an empty field is in neither
    label is None             label is not None
    path.startswith('2024/')  .endswith(...)   .contains(...)
    ... and ..., ... or ..., not ..., (...)
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpchub.errors import QueryError

LONGEST = 2000  # characters

COMPARE: dict[type[ast.cmpop], Callable[..., Any]] = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
TEXT: dict[str, Callable[..., Any]] = {
    "startswith": pc.starts_with,
    "endswith": pc.ends_with,
    "contains": pc.match_substring,
}
HOW = "write for example: label == 'cat' and width >= 500"


class Where:
    """A filter on a table of items, whose rows are computed when they are first asked for.

    Raises QueryError as `rows_where` does, here already.
    """

    def __init__(self, items: pa.Table, expression: str) -> None:
        self.items, self.expression = items, expression
        self.tree = parsed(expression)
        rows_where(items.slice(0, 0), expression)  # columns and types are checked without a look at the rows

    @cached_property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Which rows it holds for, `[N]`."""
        return rows_where(self.items, self.expression)


def parsed(expression: str) -> ast.expr:
    """The syntax tree of an expression. Raises QueryError where it is no expression."""
    if len(expression) > LONGEST:
        raise QueryError(f"a filter of {len(expression):,} characters; at most {LONGEST:,} are read")
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise QueryError(f"the filter {expression!r} is not understood; {HOW}") from error


def rows_where(items: pa.Table, expression: str) -> npt.NDArray[np.bool_]:
    """Which rows of a table the expression holds for, `[N]`; a comparison with an empty field never holds.

    Raises QueryError for an expression that is not understood, a column that is not there, values that do not compare.
    """
    tree = parsed(expression)
    try:
        mask = _Filter(items, expression).truth(tree)
        if not pa.types.is_boolean(mask.type):
            raise QueryError(f"the filter {expression!r} compares nothing; {HOW}")
        return np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), dtype=np.bool_)
    except (pa.ArrowException, OverflowError, TypeError) as error:
        raise QueryError(f"the filter {expression!r} cannot be computed: {error}") from error
    except RecursionError as error:
        raise QueryError(f"the filter {expression!r} is nested too deeply") from error


class _Filter:
    """Computes one expression over a table."""

    def __init__(self, items: pa.Table, expression: str) -> None:
        self.items, self.expression = items, expression

    def truth(self, node: ast.expr) -> Any:
        """A column of true, false and null."""
        if isinstance(node, ast.BoolOp):
            both = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
            first, *rest = [self.truth(part) for part in node.values]
            for part in rest:
                first = both(first, part)
            return first
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return pc.invert(self.truth(node.operand))
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            result = None
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
                compared = self._compare(left, operator, right)
                result = compared if result is None else pc.and_kleene(result, compared)
            return result
        if isinstance(node, ast.Call):
            return self._text(node)
        if isinstance(node, ast.Name):
            return self._column(node)
        raise self._unknown(node)

    def _compare(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(operator, (ast.In, ast.NotIn)):
            column, values = self._column(left), self._values(right)
            found = pc.is_in(column, pa.array(values))
            if None not in values:
                found = pc.if_else(column.is_null(), pa.scalar(None, pa.bool_()), found)
            return found if isinstance(operator, ast.In) else pc.invert(found)
        if isinstance(operator, (ast.Is, ast.IsNot)):
            if self._value(right) is not None:
                raise self._unknown(right)
            empty = pc.is_null(self._column(left))
            return empty if isinstance(operator, ast.Is) else pc.invert(empty)
        sides = [self._column(side) if isinstance(side, ast.Name) else self._value(side) for side in (left, right)]
        if not any(isinstance(side, ast.Name) for side in (left, right)):
            raise QueryError(f"the filter {self.expression!r} compares no column; {HOW}")
        return COMPARE[type(operator)](
            *[side if isinstance(side, pa.ChunkedArray) else pa.scalar(side) for side in sides]
        )

    def _text(self, node: ast.Call) -> Any:
        function = node.func
        if not (isinstance(function, ast.Attribute) and function.attr in TEXT and len(node.args) == 1):
            raise self._unknown(node)
        text = self._value(node.args[0])
        if not isinstance(text, str) or node.keywords:
            raise self._unknown(node)
        return TEXT[function.attr](self._column(function.value), pattern=text)

    def _column(self, node: ast.expr) -> pa.ChunkedArray:
        if not isinstance(node, ast.Name):
            raise self._unknown(node)
        if node.id not in self.items.column_names:
            raise QueryError(f"no column {node.id!r}; the collection has {', '.join(self.items.column_names)}")
        return self.items[node.id]

    def _value(self, node: ast.expr) -> Any:
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, MemoryError) as error:
            raise self._unknown(node) from error
        if not (value is None or isinstance(value, (str, int, float, bool))):
            raise self._unknown(node)
        return value

    def _values(self, node: ast.expr) -> list[Any]:
        if not isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            raise self._unknown(node)
        return [self._value(element) for element in node.elts]

    def _unknown(self, node: ast.expr) -> QueryError:
        part = ast.get_source_segment(self.expression.strip(), node) or "this"
        return QueryError(f"{part!r} is not understood in the filter {self.expression!r}; {HOW}")
