"""The items of a collection as a table: what is known about each picture, with labels and the user's own columns."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import csv

from cpchub.errors import LabelError
from cpchub.images.sources.base import PATH
from cpchub.images.sources.columns import LABEL, user_columns

FOLDERS = "folders"
PARSE = csv.ParseOptions(newlines_in_values=True)  # as names of files may have

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
    """The columns of ITEM_SCHEMA out of a table, empty where it lacks one."""
    missing = [field for field in ITEM_SCHEMA if field.name not in table.column_names]
    for field in missing:
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(ITEM_SCHEMA.names).cast(ITEM_SCHEMA)


def described(items: pa.Table, listed: pa.Table | None, labels: str | None) -> pa.Table:
    """Items `[N]` with what the source lists about them and their labels; `label` always, the user's columns after it.

    labels: "folders" for the first folder of each path, the name of a CSV with the column `path`, or None. Its columns
    come before those of the source. Raises LabelError where the CSV cannot be used.
    """
    paths = items[PATH].to_pylist()
    columns = _joined(paths, listed)
    if labels == FOLDERS:
        columns[LABEL] = pa.array([folder_label(path) for path in paths], pa.string())
    elif labels is not None:
        columns |= _joined(paths, _read_csv(Path(labels), paths))
    items = items.append_column(pa.field(LABEL, pa.string()), columns.pop(LABEL, pa.nulls(len(paths), pa.string())))
    for name, column in columns.items():
        items = items.append_column(name, column)
    return items


def folder_label(path: str) -> str | None:
    """The class of `class/…/picture.jpg`; None for a picture that lies outside any folder."""
    parts = PurePosixPath(path).parts
    return parts[0] if len(parts) > 1 else None


def check_labels(labels: str | Path | None) -> str | None:
    """`labels` as it is kept in the manifest. Raises LabelError unless it is "folders" or a CSV that is there."""
    if labels is None or labels == FOLDERS:
        return None if labels is None else FOLDERS
    file = Path(labels).expanduser()
    if not file.is_file():
        raise LabelError(
            f"labels={str(labels)!r} is not a file: give a CSV with the columns path,label, or {FOLDERS!r} to take "
            "labels from class folders"
        )
    try:
        with csv.open_csv(file, parse_options=PARSE) as reader:
            _check_has_paths(file, reader.schema.names)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error
    return str(file.resolve())


def _joined(paths: list[str], columns: pa.Table | None) -> dict[str, Any]:
    """The columns beside `path`, a value a path, null where there is none."""
    if columns is None:
        return {}
    row_of = {path: row for row, path in enumerate(columns[PATH].to_pylist())}
    rows = pa.array([row_of.get(path) for path in paths], pa.int64())
    joined = columns.drop([PATH]).take(rows)
    return {name: joined[name].combine_chunks() for name in joined.column_names}


def _read_csv(file: Path, paths: list[str]) -> pa.Table:
    try:
        table = csv.read_csv(
            file,
            parse_options=PARSE,
            convert_options=csv.ConvertOptions(column_types={LABEL: pa.string(), PATH: pa.string()}),
        )
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error
    _check_has_paths(file, table.column_names)
    named = [str(PurePosixPath(path)) for path in table[PATH].to_pylist() if path]
    if len(named) != table.num_rows:
        raise LabelError(f"{file} has lines without a path")
    if len(set(named)) != len(named):
        twice = next(path for path, count in Counter(named).items() if count > 1)
        raise LabelError(f"{file} has {twice} on more than one line; give each picture one")
    if not set(named) & set(paths):
        raise LabelError(f"no path in {file} is one of the collection: {named[:1]} against {paths[0]!r}, for example")
    return user_columns(named, table.drop([PATH]))


def _check_has_paths(file: Path, columns: list[str]) -> None:
    if PATH not in columns:
        raise LabelError(f"{file} has no column named {PATH} (its columns: {', '.join(columns)})")


def _unreadable(file: Path, error: Exception) -> LabelError:
    return LabelError(f"{file} cannot be read as a CSV of labels: {error}")
