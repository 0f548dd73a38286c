"""The unfinished work of a run: shards of results. A shard on disk is always complete.

A shard is one Parquet file with all results about its images, vectors included, so vectors and images cannot be mixed
up. A killed run leaves complete shards; the next run reads them and fills the gaps.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
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
VERSION_COLUMNS = ("path", "size", "mtime_ns", "etag")  # these columns show whether an image is the one that was read


def outcome_schema(dim: int, dtype: str = "float32") -> pa.Schema:
    """A shard: the item columns but the id, the `reason` of a failure, and the vector.

    The vector is all zero where there is none: null fixed-size lists do not survive Parquet in every reader.
    """
    known = [field for field in ITEM_SCHEMA if field.name != "id"]
    return pa.schema([*known, ("reason", pa.string()), ("vector", vector_type(dim, dtype))])


class Pending:
    """The `pending/` folder of a collection. D = dim is the length of its vectors."""

    def __init__(self, collection: Path, dim: int, dtype: str = "float32") -> None:
        self.collection = collection
        self.folder = collection / PENDING
        self.dim, self.dtype = dim, dtype

    def start(self, job: dict[str, Any]) -> dict[str, Any]:
        """Start a job, or resume the one that is there. Returns the record of the job, the older one if it is
        resumed."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        record = self.folder / JOB
        if not record.exists():
            write_json(record, job)
        return read_job(self.collection) or job

    def shards(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The complete shards, by number; `columns` are those to read."""
        return (read_table(path, columns) for path in self._paths())

    def free_numbers(self) -> Iterator[int]:
        """The numbers that no complete shard has, ascending: a killed run's gaps first, so that they are filled."""
        taken = {int(path.stem) for path in self._paths()}
        return (number for number in count() if number not in taken)

    def write(self, number: int, rows: Sequence[Row], vectors: npt.NDArray[np.float32]) -> None:
        """Write a shard: rows with the columns of `outcome_schema` but the vector, and vectors `[len(rows), D]`."""
        schema = outcome_schema(self.dim, self.dtype)
        table = pa.Table.from_pylist([{**row, "vector": None} for row in rows], schema=schema)
        flat = pa.array(vectors.reshape(-1).astype(self.dtype))
        column = pa.FixedSizeListArray.from_arrays(flat, self.dim)
        table = table.set_column(schema.get_field_index("vector"), schema.field("vector"), column)
        write_table(table, self.folder / f"{number:06d}.parquet")

    def count(self) -> int:
        """The images in the complete shards."""
        return sum(shard.num_rows for shard in self.shards(["path"]))

    def discard(self) -> None:
        """Delete the unfinished work."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"))


def read_job(collection: Path) -> dict[str, Any] | None:
    """The record of the unfinished job of a collection folder, or None."""
    try:
        job: dict[str, Any] = json.loads((collection / PENDING / JOB).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{collection / PENDING} is damaged ({error}); delete that folder and start again") from error
    return job


def current_rows(shard: pa.Table, wanted: Mapping[str, ListedImage]) -> list[int]:
    """The rows of a shard that are about images as they are now, each path once."""
    marks = zip(*(shard[name].to_pylist() for name in VERSION_COLUMNS), strict=True)
    rows: dict[str, int] = {}
    for row, (path, *seen) in enumerate(marks):
        image = wanted.get(path)
        if image is not None and is_same(image, *seen, unmarked=True):
            rows.setdefault(path, row)
    return list(rows.values())
