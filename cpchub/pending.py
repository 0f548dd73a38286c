"""The unfinished work of a run: shards of outcomes, each complete or absent.

A shard is one Parquet file with everything known about its pictures, vector included, so that a vector cannot lose its
picture. A run that was killed at any moment leaves whole shards; the next run reads them and goes on after them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection import PENDING, read_table, write_table
from cpchub.errors import OutputError
from cpchub.files import write_json, writing
from cpchub.images.sources import Picture
from cpchub.sync import ITEM_SCHEMA, Row

JOB = "job.json"


def outcome_schema(dim: int) -> pa.Schema:
    """A shard: the item columns, `kept_id` of an item that moved here, `reason` of a failure, and the vector.

    The vector is all zero where there is none: null fixed-size lists do not survive Parquet in every reader.
    """
    known = [field for field in ITEM_SCHEMA if field.name not in ("id", "label")]
    extra = [("kept_id", pa.int64()), ("reason", pa.string()), ("vector", pa.list_(pa.float32(), dim))]
    return pa.schema([*known, *[pa.field(name, kind) for name, kind in extra]])


class Pending:
    """The `pending/` folder of a collection. D = dim is the length of its vectors."""

    def __init__(self, collection: Path, dim: int) -> None:
        self.collection = collection
        self.folder = collection / PENDING
        self.dim = dim

    def start(self, job: dict[str, Any]) -> dict[str, Any]:
        """Begin a job, or go on with the one that is there: its own record, which is the older, is returned."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        record = self.folder / JOB
        if not record.exists():
            write_json(record, job)
        return read_job(self.collection) or job

    def shards(self) -> Iterator[pa.Table]:
        """The complete shards, in the order they were written."""
        return (read_table(path) for path in self._paths())

    def write(self, rows: Sequence[Row], vectors: npt.NDArray[np.float32]) -> None:
        """Add a shard: rows with the columns of `outcome_schema` but the vector, and vectors `[len(rows), D]`."""
        schema = outcome_schema(self.dim)
        table = pa.Table.from_pylist([{**row, "vector": None} for row in rows], schema=schema)
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), self.dim)
        table = table.set_column(schema.get_field_index("vector"), schema.field("vector"), column)
        write_table(table, self.folder / f"{len(self._paths()):06d}.parquet")

    def discard(self) -> None:
        """Throw the unfinished work away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))


def read_job(collection: Path) -> dict[str, Any] | None:
    """The record of the unfinished job of a collection folder, or None."""
    try:
        job: dict[str, Any] = json.loads((collection / PENDING / JOB).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{collection / PENDING} is damaged ({error}); delete that folder and start again") from error
    return job


def matches(row: Row, wanted: dict[str, Picture]) -> bool:
    """Whether an outcome is about a file as it is now."""
    picture = wanted.get(row["path"])
    return picture is not None and (row["size"], row["mtime_ns"]) == (picture.size, picture.mtime_ns)
