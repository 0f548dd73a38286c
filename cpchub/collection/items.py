"""The table of items: one row per image, with labels and the user's own columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from cpchub.media.sources.base import PATH
from cpchub.media.sources.columns import LABEL

ITEM_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("etag", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)


def as_items(table: pa.Table) -> pa.Table:
    """The columns of ITEM_SCHEMA from a table; a missing column is filled with nulls."""
    missing = [field for field in ITEM_SCHEMA if field.name not in table.column_names]
    for field in missing:
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(ITEM_SCHEMA.names).cast(ITEM_SCHEMA)


def add_label_columns(items: pa.Table, listed: pa.Table | None, given: pa.Table | None) -> pa.Table:
    """Items `[N]` with what is known about them; `label` always, the user's columns after it.

    listed: what the source says, given: what the labels say (`Labels.columns`), which comes first; both `path` first.
    """
    paths = items[PATH].to_pylist()
    columns = _joined(paths, listed) | _joined(paths, given)
    items = items.append_column(pa.field(LABEL, pa.string()), columns.pop(LABEL, pa.nulls(len(paths), pa.string())))
    for name, column in columns.items():
        items = items.append_column(name, column)
    return items


def _joined(paths: list[str], columns: pa.Table | None) -> dict[str, Any]:
    """The columns beside `path`, a value a path, null where there is none."""
    if columns is None:
        return {}
    row_of = {path: row for row, path in enumerate(columns[PATH].to_pylist())}
    rows = pa.array([row_of.get(path) for path in paths], pa.int64())
    joined = columns.drop([PATH]).take(rows)
    return {name: joined[name].combine_chunks() for name in joined.column_names}


Row = dict[str, Any]
