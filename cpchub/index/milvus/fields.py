"""Which columns of the items Milvus holds, as what, and a digest that tells a changed row.

Filters are computed in Milvus for these columns. For any other column they are computed here, from the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpchub.collection.items import ITEM_SCHEMA
from cpchub.index.engine.mapped import Ids, Vectors
from cpchub.media.sources.columns import LABEL

Kind = Literal["INT64", "DOUBLE", "BOOL", "VARCHAR"]
ID, DIGEST, VECTOR = "id", "digest", "vector"
OWN = "own_"  # before the names of the user's columns, which may be words of Milvus
LONGEST = 65_535  # bytes of a text, of Milvus
MOST = 56  # columns; Milvus allows 64 fields
BETWEEN, EMPTY = "\x1f", "\x00"


@dataclass(frozen=True)
class Field:
    """A column that Milvus holds: its name in the items, and its name and kind there."""

    column: str
    name: str
    kind: Kind


def fields_of(items: pa.Table) -> dict[str, Field]:
    """The columns that Milvus can hold exactly, by their names in the items; `id` is among them."""
    fields: dict[str, Field] = {}
    for column in items.column_names:
        kind = _kind(items[column])
        known = column in ITEM_SCHEMA.names or column == LABEL
        if kind is not None and len(fields) < MOST and (known or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,100}", column)):
            fields[column] = Field(column, column if known else OWN + column, kind)
    return fields


def _kind(values: pa.ChunkedArray) -> Kind | None:
    """The kind of field that holds the values of a column as they are; None where none does."""
    kind = values.type
    if pa.types.is_boolean(kind):
        return "BOOL"
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return "INT64"
    if pa.types.is_floating(kind) and kind.bit_width >= 32:
        whole = pc.all(pc.is_finite(values)).as_py()
        return "DOUBLE" if whole in (True, None) else None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        longest = pc.max(pc.binary_length(values)).as_py()
        return "VARCHAR" if (longest or 0) <= LONGEST else None
    return None


def schema_of(fields: dict[str, Field], dim: int) -> list[dict[str, Any]]:
    """The fields of the collection in Milvus, as its client describes them: name, type, and what limits it."""
    described: list[dict[str, Any]] = [{"name": ID, "type": "INT64", "is_primary": True}]
    for field in fields.values():
        if field.name != ID:
            limit = {"max_length": LONGEST} if field.kind == "VARCHAR" else {}
            described.append({"name": field.name, "type": field.kind, "nullable": True, **limit})
    return [*described, {"name": DIGEST, "type": "INT64"}, {"name": VECTOR, "type": "FLOAT_VECTOR", "dim": dim}]


def digests(items: pa.Table, fields: dict[str, Field], vectors: Vectors | None) -> npt.NDArray[np.int64]:
    """A number for each row, `[N]`, which changes with its fields; with its vector as well where vectors are given."""
    columns = [pc.cast(items[field.column], pa.large_string()) for field in fields.values()]
    between = pa.scalar(BETWEEN, pa.large_string())
    joined = pc.binary_join_element_wise(*columns, between, null_handling="replace", null_replacement=EMPTY)
    numbers = np.empty(len(joined), np.int64)
    for row, text in enumerate(joined):
        data = text.as_buffer()
        digest = blake2b(data, digest_size=8)
        if vectors is not None:
            digest.update(np.ascontiguousarray(vectors[row]).data)
        numbers[row] = int.from_bytes(digest.digest(), "little", signed=True)
    return numbers


def rows_for(
    items: pa.Table, fields: dict[str, Field], numbers: npt.NDArray[np.int64], vectors: Vectors, at_once: int
) -> Iterator[list[dict[str, Any]]]:
    """Items, digests and vectors as the rows that Milvus takes, `at_once` of them at a time."""
    columns = [field.column for field in fields.values()]
    names = [field.name for field in fields.values()]
    for start in range(0, len(numbers), at_once):
        part = items.select(columns).slice(start, at_once).rename_columns(names).to_pylist()
        block = np.array(vectors[start : start + at_once], dtype=np.float32)
        some = numbers[start : start + at_once].tolist()
        yield [{**row, DIGEST: number, VECTOR: vector} for row, number, vector in zip(part, some, block, strict=True)]


def same_schema(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    """Whether a collection in Milvus, as its client describes it, has the fields that are wanted."""

    def facts(fields: list[dict[str, Any]]) -> set[tuple[str, str, Any]]:
        kinds = [(field, getattr(field["type"], "name", field["type"])) for field in fields]
        return {(each["name"], kind, (each.get("params") or each).get("dim")) for each, kind in kinds}

    return facts(found) == facts(wanted)


def numbers_in(rows: list[dict[str, Any]]) -> tuple[Ids, npt.NDArray[np.int64]]:
    """The ids and digests of rows that Milvus gave, by id."""
    ids = np.array([int(row[ID]) for row in rows], np.int64)
    numbers = np.array([int(row[DIGEST]) for row in rows], np.int64)
    order = np.argsort(ids)
    return ids[order], numbers[order]
