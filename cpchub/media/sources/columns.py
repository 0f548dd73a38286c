"""What a source knows about its images beside the pixels: labels and the user's own columns."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cpchub.media.sources.base import PATH

LABEL = "label"
TAKEN = frozenset({"id", PATH, "size", "mtime_ns", "etag", "sha256", "width", "height"})  # by items.parquet itself


def user_columns(paths: list[str], table: pa.Table) -> pa.Table:
    """`table`, a row a path, as columns to keep: `path` first, names that are taken as `source_NAME`, `label` as text.

    An empty label is none. Columns that are no facts (`is_fact`) are left out.
    """
    columns: dict[str, Any] = {PATH: pa.array(paths, pa.string())}
    names = class_names(table.schema)
    for field in table.schema:
        if not is_fact(field.type):
            continue
        column = table[field.name]
        if field.name in names:
            column = _named(column, names[field.name])
        elif pa.types.is_dictionary(field.type):
            column = column.cast(field.type.value_type)
        if field.name == LABEL:
            column = column.cast(pa.string())
            column = pc.if_else(pc.equal(column, ""), None, column)
        columns[_free_name(field.name, table.column_names)] = column
    return pa.table(columns)


def stacked(tables: list[pa.Table]) -> pa.Table:
    """Tables one below the other, null where one lacks a column; what is of several types in them becomes text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:  # a number here, a word there
        types: dict[str, set[pa.DataType]] = {}
        for field in (field for table in tables for field in table.schema):
            types.setdefault(field.name, set()).add(field.type)
        mixed = {name for name, seen in types.items() if len(seen) > 1}
        return pa.concat_tables([_as_text(table, mixed) for table in tables], promote_options="default")


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Column name -> its class names, where Hugging Face's metadata says that numbers stand for them."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError):
        return {}
    labelled = {name: facts for name, facts in features.items() if isinstance(facts, dict)}
    return {name: facts["names"] for name, facts in labelled.items() if facts.get("_type") == "ClassLabel"}


def is_fact(kind: pa.DataType) -> bool:
    """Whether a column of this type says something to filter by: binary and nested ones are images and their like."""
    if pa.types.is_dictionary(kind):
        return is_fact(kind.value_type)
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return not (binary or pa.types.is_nested(kind) or pa.types.is_null(kind))


def _free_name(name: str, all_names: list[str]) -> str:
    """The name that a column is kept under: its own, or where the items have that, the first that no column has."""
    if name not in TAKEN:
        return name
    free = f"source_{name}"
    while free in all_names:
        free = f"source_{free}"
    return free


def _as_text(table: pa.Table, names: set[str]) -> pa.Table:
    for place, field in enumerate(table.schema):
        if field.name in names:
            table = table.set_column(place, field.name, table[place].cast(pa.string()))
    return table


def _named(column: pa.ChunkedArray, names: list[str]) -> pa.Array:
    known = range(len(names))  # -1 is Hugging Face's way to say that there is no label
    return pa.array([names[value] if value in known else None for value in column.to_pylist()], pa.string())
