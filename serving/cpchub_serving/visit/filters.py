"""A filter as a list of conditions that a click can change; its text is in the language of `cpchub.index.where`.

A filter is conditions joined by `and`. A condition on one column, either some of its values or a range, can be read and
written here; any other is kept as it is.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FOLDER = "folder"  # of paths: `path.startswith('cats/')`
Value = str | int | float | bool | None


@dataclass(frozen=True)
class Chosen:
    """Some values of a column. Of FOLDER they are the beginnings of paths."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Between:
    """A range of a column; an end that is None is open."""

    column: str
    low: float | None
    high: float | None


def conditions(where: str) -> dict[str, Chosen | Between]:
    """What the filter says of single columns, by column; nothing where it is not understood."""
    read = (_read(part) for part in _parts(where) or ())
    return {found.column: found for found in read if found is not None}


def toggled(where: str, column: str, value: Value) -> str:
    """The filter with one value of a column added to those that fit, or taken from them."""
    found = conditions(where).get(column)
    values = found.values if isinstance(found, Chosen) else ()
    same = [each for each in values if (type(each), each) == (type(value), value)]
    kept = [each for each in values if each not in same] if same else [*values, value]
    return _with(where, column, _chosen_text(column, kept))


def narrowed(where: str, column: str, low: float | None, high: float | None) -> str:
    """The filter with the range of a column set; without its condition where both ends are None."""
    ends = [None if end is None else _number(end) for end in (low, high)]
    if ends[0] and ends[1]:
        text = f"{ends[0]} <= {column} <= {ends[1]}"
    elif ends[0]:
        text = f"{column} >= {ends[0]}"
    else:
        text = f"{column} <= {ends[1]}" if ends[1] else ""
    return _with(where, column, text)


def _with(where: str, column: str, condition: str) -> str:
    """The filter with its condition on the column replaced by another; an empty one removes it."""
    parts = _parts(where)
    if parts is None:  # not understood: what is written there is given up for the condition that was clicked
        return condition
    new = ast.parse(condition, mode="eval").body if condition else None
    kept: list[ast.expr] = []
    for part in parts:
        found = _read(part)
        if found is None or found.column != column:
            kept.append(part)
        elif new is not None:
            kept.append(new)
            new = None
    if new is not None:
        kept.append(new)
    if not kept:
        return ""
    return ast.unparse(kept[0] if len(kept) == 1 else ast.BoolOp(ast.And(), kept))


def _parts(where: str) -> list[ast.expr] | None:
    """The conditions that are joined by `and`; None for a text that Python's grammar does not have."""
    if not where.strip():
        return []
    try:
        tree = ast.parse(where.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return list(tree.values) if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]


def _read(node: ast.expr) -> Chosen | Between | None:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        parts = [_read(part) for part in node.values]
        chosen = [part for part in parts if isinstance(part, Chosen)]
        if len(chosen) == len(parts) and len({part.column for part in chosen}) == 1:
            return Chosen(chosen[0].column, tuple(value for part in chosen for value in part.values))
        return None
    if isinstance(node, ast.Name):
        return Chosen(node.id, (True,))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Name):
        return Chosen(node.operand.id, (False,))
    if isinstance(node, ast.Call):
        return _read_folder(node)
    return _read_compared(node) if isinstance(node, ast.Compare) else None


def _read_folder(node: ast.Call) -> Chosen | None:
    text = ast.unparse(node)
    if not text.startswith("path.startswith(") or len(node.args) != 1 or node.keywords:
        return None
    start = _constants([node.args[0]])
    return Chosen(FOLDER, tuple(start)) if start and isinstance(start[0], str) else None


def _read_compared(node: ast.Compare) -> Chosen | Between | None:
    first, operators, rest = node.left, node.ops, node.comparators
    if len(operators) == 1 and isinstance(first, ast.Name):
        operator, right = operators[0], rest[0]
        several = isinstance(operator, ast.In) and isinstance(right, (ast.Tuple, ast.List, ast.Set))
        values = _constants(right.elts if several else [right])  # type: ignore[attr-defined]
        if values is None:
            return None
        if several or isinstance(operator, ast.Eq) or (isinstance(operator, ast.Is) and values == [None]):
            return Chosen(first.id, tuple(values))
        end = values[0]
        if isinstance(end, (int, float)) and isinstance(operator, ast.GtE):
            return Between(first.id, end, None)
        return Between(first.id, None, end) if isinstance(end, (int, float)) and isinstance(operator, ast.LtE) else None
    ends = _constants([first, rest[-1]])
    if len(operators) == 2 and ends and all(isinstance(operator, ast.LtE) for operator in operators):
        low, high, middle = ends[0], ends[1], rest[0]
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and isinstance(middle, ast.Name):
            return Between(middle.id, low, high)
    return None


def _constants(nodes: Sequence[ast.expr]) -> list[Any] | None:
    try:
        return [ast.literal_eval(node) for node in nodes]
    except (ValueError, TypeError, MemoryError):
        return None


def _chosen_text(column: str, values: Sequence[Value]) -> str:
    if not values:
        return ""
    if column == FOLDER:
        return " or ".join(f"path.startswith({value!r})" for value in values)
    if len(values) == 1:
        return f"{column} is None" if values[0] is None else f"{column} == {values[0]!r}"
    return f"{column} in ({', '.join(repr(value) for value in values)})"


def _number(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() else repr(float(value))
