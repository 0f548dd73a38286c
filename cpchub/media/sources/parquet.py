"""Parquet files with a column of encoded images; every other plain column is kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.sources.base import PATH, ListedImage, Listing, StoredFile
from cpchub.media.sources.columns import is_fact, stacked, user_columns
from cpchub.media.sources.found import no_way_to
from cpchub.media.sources.rows import encoded, image_column, row_images
from cpchub.media.sources.storage import Storage

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
BATCH = 32  # rows decoded at once: what is held in memory, a few times over
HELD = 4  # batches, as reading threads overtake one another
OPEN = 4  # files


class ParquetSource:
    """The rows of one Parquet file, or of every one below a place; an image's path is `file.parquet/row`."""

    kind = "parquet"

    def __init__(self, storage: Storage, location: str, tables: list[StoredFile] | None = None) -> None:
        self.storage, self.location, self.tables = storage, location, tables
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {"storage": self.storage, "location": self.location, "tables": self.tables}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._cursors: OrderedDict[str, _Cursor] = OrderedDict()
        self._lock = threading.Lock()

    def listing(self) -> Listing:
        images: list[ListedImage] = []
        columns: list[pa.Table] = []
        failures: list[dict[str, Any]] = []
        unlisted: list[str] = []
        found = self.storage.files(PARQUET_SUFFIXES).files if self.tables is None else self.tables
        for table in found:
            try:
                with self.storage.open(table.path) as file, pq.ParquetFile(file) as parquet:
                    image_column(parquet.schema_arrow, table.path)  # refuses a table without images
                    rows = row_images(table.path, parquet.metadata.num_rows, table.mtime_ns, table.etag)
                    facts = parquet.read(columns=[f.name for f in parquet.schema_arrow if is_fact(f.type)])
                    facts = facts.cast(facts.schema.with_metadata(parquet.schema_arrow.metadata))
            except (OSError, pa.ArrowException) as error:
                if no_way_to(error):
                    unlisted.append(table.path)
                    failures.append({PATH: table.path, "reason": f"the Parquet file cannot be read ({error})"})
                else:
                    failures.append({PATH: table.path, "reason": f"the Parquet file is damaged ({error})"})
                continue
            except SourceError as error:
                if len(found) == 1:
                    raise
                failures.append({PATH: table.path, "reason": str(error).removeprefix(f"{table.path} ")})
                continue
            images += rows
            columns.append(user_columns([image.path for image in rows], facts))
        if not images:
            why = f"; {failures[0][PATH]}: {failures[0]['reason']}" if failures else ""
            raise SourceError(f"no rows in the Parquet files of {self.location}{why}")
        return Listing(images, stacked(columns), failures, tuple(unlisted))

    def read(self, image: ListedImage) -> bytes:
        if image.place is None:
            raise BrokenImageError("no such row")
        name, row = image.place
        with self._lock:
            return encoded(self._cursor(name).value(row))

    def _cursor(self, name: str) -> _Cursor:
        if name not in self._cursors:
            if len(self._cursors) == OPEN:
                self._cursors.popitem(last=False)[1].close()
            try:
                self._cursors[name] = _Cursor(self.storage, name)
            except (OSError, pa.ArrowException, SourceError) as error:
                raise BrokenImageError(f"the Parquet file is damaged ({error})") from error
        self._cursors.move_to_end(name)
        return self._cursors[name]


class _Cursor:
    """Reads rows of a file that are asked for in nearly ascending order, never more than a few batches in memory."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._file = storage.open(name)
        self._parquet = pq.ParquetFile(self._file, buffer_size=1 << 20)
        self._column = image_column(self._parquet.schema_arrow, name)
        metadata = self._parquet.metadata
        self._starts = [0]
        for group in range(metadata.num_row_groups):
            self._starts.append(self._starts[-1] + metadata.row_group(group).num_rows)
        self._group = -1
        self._batches: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        self._held: list[tuple[int, pa.RecordBatch]] = []

    def value(self, row: int) -> Any:
        group = next((g for g, end in enumerate(self._starts[1:]) if row < end), None)
        if group is None:
            raise BrokenImageError("the Parquet file has fewer rows than when it was listed")
        try:
            return self._find(group, row)
        except (OSError, pa.ArrowException) as error:
            self._group = -1
            raise BrokenImageError(f"the Parquet file is damaged ({error})") from error

    def close(self) -> None:
        self._parquet.close()
        self._file.close()

    def _find(self, group: int, row: int) -> Any:
        while True:
            for start, batch in self._held:
                if start <= row < start + batch.num_rows:
                    return batch.column(0)[row - start].as_py()
            if group != self._group or (self._held and row < self._held[-1][0]):
                self._group, self._batches = group, self._read(group)
                self._held = self._held[-1:]
            following = next(self._batches, None)
            if following is None:
                raise BrokenImageError("the Parquet file has fewer rows than when it was listed")
            self._held = [*self._held[1 - HELD :], following]

    def _read(self, group: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        start = self._starts[group]
        for batch in self._parquet.iter_batches(BATCH, row_groups=[group], columns=[self._column]):
            yield start, batch
            start += batch.num_rows
