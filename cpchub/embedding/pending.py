"""The unfinished work of an embedding run: numbered shards of results. A shard on disk is always complete.

A shard is one Parquet file. A row holds everything about one image, its vector included, so a vector cannot end up with
another image. A killed run leaves complete shards. The next run keeps them and writes the missing numbers.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.items import ITEM_SCHEMA, Row
from cpchub.collection.manifest import PENDING
from cpchub.collection.tables import read_table, vector_type, write_table
from cpchub.common.files import write_json, writing
from cpchub.embedding.changes import is_same
from cpchub.errors import OutputError
from cpchub.media.sources.base import ListedImage

JOB = "job.json"
VERSION_COLUMNS = ("path", "size", "mtime_ns", "etag")  # the image is unchanged if all of these are equal


def outcome_schema(dim: int, dtype: str = "float32") -> pa.Schema:
    """The columns of a shard: all item columns except the id, the `reason` of a failure, and the vector.

    An image that failed has a vector of zeros, because some Parquet readers lose null fixed-size lists.
    """
    item_columns = [field for field in ITEM_SCHEMA if field.name != "id"]
    return pa.schema([*item_columns, ("reason", pa.string()), ("vector", vector_type(dim, dtype))])


class Pending:
    """The `pending/` folder of a collection, whose vectors have dimension D = dim."""

    def __init__(self, collection: Path, dim: int, dtype: str = "float32") -> None:
        self.collection = collection
        self.folder = collection / PENDING
        self.dim, self.dtype = dim, dtype

    def start(self, job: dict[str, Any]) -> dict[str, Any]:
        """Start a job, or resume the unfinished one. Returns the record of that job.

        A resumed job keeps its own record; `job` is then ignored.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        record = self.folder / JOB
        if not record.exists():
            write_json(record, job)
        return read_job(self.collection) or job

    def shards(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Read the shards in the order of their numbers: only `columns` if given, else all."""
        return (read_table(path, columns) for path in self._paths())

    def free_numbers(self) -> Iterator[int]:
        """Numbers without a shard, ascending and without end. The gaps that a killed run left come first."""
        taken = {int(path.stem) for path in self._paths()}
        return (number for number in itertools.count() if number not in taken)

    def write(self, number: int, rows: Sequence[Row], vectors: npt.NDArray[np.float32]) -> None:
        """Write a shard. `rows` have the columns of `outcome_schema` except the vector; vectors: `[len(rows), D]`."""
        schema = outcome_schema(self.dim, self.dtype)
        table = pa.Table.from_pylist([{**row, "vector": None} for row in rows], schema=schema)
        flat = pa.array(vectors.reshape(-1).astype(self.dtype))
        column = pa.FixedSizeListArray.from_arrays(flat, self.dim)
        table = table.set_column(schema.get_field_index("vector"), schema.field("vector"), column)
        write_table(table, self.folder / f"{number:06d}.parquet")

    def count(self) -> int:
        """How many images the shards hold."""
        return sum(shard.num_rows for shard in self.shards(["path"]))

    def discard(self) -> None:
        """Delete the unfinished work."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"))


def read_job(collection: Path) -> dict[str, Any] | None:
    """The record of the unfinished job in a collection folder, None without one.

    Raises OutputError for a record that cannot be read.
    """
    try:
        job: dict[str, Any] = json.loads((collection / PENDING / JOB).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{collection / PENDING} is damaged ({error}); delete that folder and start again") from error
    return job


def current_rows(shard: pa.Table, wanted: Mapping[str, ListedImage]) -> list[int]:
    """Numbers of the rows whose image is wanted and unchanged since it was read; one row per path, the first."""
    versions = zip(*(shard[name].to_pylist() for name in VERSION_COLUMNS), strict=True)
    row_by_path: dict[str, int] = {}
    for row, (path, *version) in enumerate(versions):
        image = wanted.get(path)
        if image is not None and is_same(image, *version, unmarked=True):
            row_by_path.setdefault(path, row)
    return list(row_by_path.values())
