"""What a source knows about its pictures beside the pixels: labels and the user's own columns."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from cpchub.images.sources.base import PATH

LABEL = "label"
TAKEN = frozenset({"id", PATH, "size", "mtime_ns", "etag", "sha256", "width", "height"})  # by items.parquet itself


def user_columns(paths: list[str], table: pa.Table) -> pa.Table:
    """`table`, a row a path, as columns to keep: `path` first, names that are taken as `source_NAME`, `label` as text.

    Binary and nested columns are left out: they are pictures and their like, not facts to filter by.
    """
    columns: dict[str, Any] = {PATH: pa.array(paths, pa.string())}
    names = class_names(table.schema)
    for field in table.schema:
        if not _is_fact(field.type):
            continue
        column = table[field.name]
        if field.name in names:
            column = _named(column, names[field.name])
        elif pa.types.is_dictionary(field.type):
            column = column.cast(field.type.value_type)
        if field.name == LABEL and not pa.types.is_string(column.type):
            column = column.cast(pa.string())
        columns[f"source_{field.name}" if field.name in TAKEN else field.name] = column
    return pa.table(columns)


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Column name -> its class names, where Hugging Face's metadata says that numbers stand for them."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError):
        return {}
    labelled = {name: facts for name, facts in features.items() if isinstance(facts, dict)}
    return {name: facts["names"] for name, facts in labelled.items() if facts.get("_type") == "ClassLabel"}


def _is_fact(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_fact(kind.value_type)
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return not (binary or pa.types.is_nested(kind) or pa.types.is_null(kind))


def _named(column: pa.ChunkedArray, names: list[str]) -> pa.Array:
    known = range(len(names))  # -1 is Hugging Face's way to say that there is no label
    return pa.array([names[value] if value in known else None for value in column.to_pylist()], pa.string())
