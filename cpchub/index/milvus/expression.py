"""The filters of `cpchub.index.where` in the language of Milvus.

Our filters know three values: a comparison with an empty field is neither true nor false, and `not` leaves it so.
Stores differ in this. So `not` is moved down to the comparisons, and each of them says that its field is not empty.
Then true and false are enough.

What Milvus computes in another way, or not at all, is not translated: then the filter is computed from the items.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping

from cpchub.index.milvus.fields import ID, Field

COMPARE: dict[type[ast.cmpop], tuple[str, str]] = {  # and what is true where it is false
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", ">="),
    ast.LtE: ("<=", ">"),
    ast.Gt: (">", "<="),
    ast.GtE: (">=", "<"),
}
TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
PATTERN = {"startswith": "{}%", "endswith": "%{}", "contains": "%{}%"}
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # JSON writes these as Milvus does not read them
INT64 = 1 << 63


class _UntranslatedError(Exception):
    """A part of a filter that Milvus cannot compute as we do."""


def milvus_expression(tree: ast.expr, fields: Mapping[str, Field]) -> str | None:
    """A filter, as `where.parsed` reads it, for Milvus; None where Milvus cannot compute it as we do.

    fields: the columns that Milvus holds.
    """
    try:
        return _Translation(fields).truth(tree, True)
    except (_UntranslatedError, RecursionError):
        return None


class _Translation:
    def __init__(self, fields: Mapping[str, Field]) -> None:
        self.fields = fields

    def truth(self, node: ast.expr, wanted: bool) -> str:
        """What holds in Milvus where the node is `wanted`; nothing holds where it is empty."""
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(part, wanted) for part in node.values]
            return _joined(parts, isinstance(node.op, ast.And) is wanted)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.truth(node.operand, not wanted)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = zip(sides, node.ops, sides[1:], strict=False)
            return _joined([self._compare(left, op, right, wanted) for left, op, right in pairs], wanted)
        if isinstance(node, ast.Call):
            return self._text(node, wanted)
        field = self._field(node)
        if field.kind != "BOOL":
            raise _UntranslatedError
        return self._filled(field, f"{field.name} == {'true' if wanted else 'false'}")

    def _compare(self, left: ast.expr, operator: ast.cmpop, right: ast.expr, wanted: bool) -> str:
        if isinstance(operator, (ast.Is, ast.IsNot)):
            field, empty = self._field(left), isinstance(operator, ast.Is) is wanted
            if field.name == ID:
                raise _UntranslatedError
            return f"{field.name} is null" if empty else f"{field.name} is not null"
        if isinstance(operator, (ast.In, ast.NotIn)):
            return self._among(self._field(left), right, isinstance(operator, ast.In) is wanted)
        sign = COMPARE[type(operator)][0 if wanted else 1]
        if not isinstance(left, ast.Name):
            left, right, sign = right, left, TURNED[sign]
        field = self._field(left)
        if field.kind == "BOOL" and sign not in ("==", "!="):
            raise _UntranslatedError
        return self._filled(field, f"{field.name} {sign} {self._literal(field, right)}")

    def _among(self, field: Field, node: ast.expr, within: bool) -> str:
        if not isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            raise _UntranslatedError
        empty = [element for element in node.elts if isinstance(element, ast.Constant) and element.value is None]
        literals = [self._literal(field, element) for element in node.elts if element not in empty]
        values = list(dict.fromkeys(literals))  # Milvus may find a key twice that is listed twice
        if not values or (empty and field.name == ID):
            raise _UntranslatedError
        listed = f"[{', '.join(values)}]"
        if within and empty:
            return f"({field.name} is null or {self._filled(field, f'{field.name} in {listed}')})"
        return self._filled(field, f"{field.name} {'in' if within else 'not in'} {listed}")

    def _text(self, node: ast.Call, wanted: bool) -> str:
        function = node.func
        if not isinstance(function, ast.Attribute) or function.attr not in PATTERN or len(node.args) != 1:
            raise _UntranslatedError
        field, text = self._field(function.value), _value(node.args[0])
        if field.kind != "VARCHAR" or not isinstance(text, str) or not text:
            raise _UntranslatedError
        meant = re.sub(r"([\\%_])", r"\\\1", text)
        like = f"{field.name} like {_quoted(PATTERN[function.attr].format(meant))}"
        return self._filled(field, like if wanted else f"not ({like})")

    def _filled(self, field: Field, comparison: str) -> str:
        return comparison if field.name == ID else f"({field.name} is not null and {comparison})"

    def _field(self, node: ast.expr) -> Field:
        if not isinstance(node, ast.Name) or node.id not in self.fields:
            raise _UntranslatedError
        return self.fields[node.id]

    def _literal(self, field: Field, node: ast.expr) -> str:
        """A value as Milvus reads it, where it is of the field's own kind: others are compared in other ways."""
        value = _value(node)
        if isinstance(value, bool):
            if field.kind == "BOOL":
                return "true" if value else "false"
        elif field.kind == "VARCHAR" and isinstance(value, str):
            return _quoted(value)
        elif field.kind == "INT64" and isinstance(value, int) and -INT64 < value < INT64:
            return str(value)
        elif field.kind == "DOUBLE" and isinstance(value, (int, float)) and abs(value) < 1 << 53:
            return repr(float(value))
        elif field.kind == "DOUBLE" and isinstance(value, float) and math.isfinite(value):
            return repr(value)
        raise _UntranslatedError


def _joined(parts: list[str], both: bool) -> str:
    return parts[0] if len(parts) == 1 else f"({(' and ' if both else ' or ').join(parts)})"


def _value(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError) as error:
        raise _UntranslatedError from error


def _quoted(text: str) -> str:
    if CONTROL.search(text):
        raise _UntranslatedError
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a pair of surrogates
        raise _UntranslatedError from error
    return json.dumps(text, ensure_ascii=False)
