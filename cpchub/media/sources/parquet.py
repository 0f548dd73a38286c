"""Parquet files with a column of encoded images; every other plain column is kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate, count
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cpchub.errors import BrokenImageError, SourceError
from cpchub.media.sources.base import PATH, ListedImage, Listing, Source, StoredFile
from cpchub.media.sources.columns import is_fact, stacked, user_columns
from cpchub.media.sources.found import no_way_to
from cpchub.media.sources.rows import encoded, image_column, row_images
from cpchub.media.sources.storage import Storage

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
BATCH = 32  # rows decoded at once: what is held in memory, a few times over
HELD = 4  # batches, as reading threads overtake one another
OPEN = 4  # places in files that are read at once


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
        self._cursors: OrderedDict[int, _Cursor] = OrderedDict()
        self._numbers = count()
        self.most_open = OPEN
        self._lock = threading.Lock()

    def listing(self) -> Listing:
        images: list[ListedImage] = []
        columns: list[pa.Table] = []
        failures: list[dict[str, Any]] = []
        unlisted: list[str] = []
        row_groups: dict[str, list[int]] = {}
        found = self.storage.files(PARQUET_SUFFIXES).files if self.tables is None else self.tables
        for table in found:
            try:
                with self.storage.open(table.path) as file, pq.ParquetFile(file) as parquet:
                    image_column(parquet.schema_arrow, table.path)  # refuses a table without images
                    row_groups[table.path] = _starts(parquet.metadata)[:-1]
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
        return Listing(images, stacked(columns), failures, tuple(unlisted), row_groups=row_groups)

    def read(self, image: ListedImage) -> bytes:
        if image.place is None:
            raise BrokenImageError("no such row")
        name, row = image.place
        with self._lock:
            return encoded(self._cursor(name, row).value(row))

    def _cursor(self, name: str, row: int) -> _Cursor:
        """The cursor that is about to come to a row, else one that has ended in its file, else a new one."""
        here = [(key, cursor) for key, cursor in self._cursors.items() if cursor.name == name]
        near = [key for key, cursor in here if cursor.is_near(row)] or [key for key, each in here if each.ended()]
        key = near[-1] if near else next(self._numbers)
        if not near:
            while len(self._cursors) >= self.most_open:
                self._cursors.popitem(last=False)[1].close()
            try:
                self._cursors[key] = _Cursor(self.storage, name)
            except (OSError, pa.ArrowException, SourceError) as error:
                raise BrokenImageError(f"the Parquet file is damaged ({error})") from error
        self._cursors.move_to_end(key)
        return self._cursors[key]


def read_at_many_places(source: Source, n: int) -> None:
    """Let a source of Parquet files keep its place at `n` places at once; other sources need none."""
    inner = getattr(source, "source", source)  # of what chose it
    if isinstance(inner, ParquetSource):
        inner.most_open = n


def _starts(metadata: pq.FileMetaData) -> list[int]:
    """The first row of each row group, and the number of rows."""
    return [0, *accumulate(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))]


class _Cursor:
    """Reads rows of a file that are asked for in nearly ascending order, never more than a few batches in memory."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.name = name
        self._file = storage.open(name)
        self._parquet = pq.ParquetFile(self._file, buffer_size=1 << 20)
        self._column = image_column(self._parquet.schema_arrow, name)
        self._starts = _starts(self._parquet.metadata)
        self._group = -1
        self._batches: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        self._held: list[tuple[int, pa.RecordBatch]] = []

    def is_near(self, row: int) -> bool:
        """Whether a row is in memory, or among the next ones of its row group."""
        if not self._held or row < self._held[0][0]:
            return False
        last = self._held[-1]
        return row < min(last[0] + last[1].num_rows + HELD * BATCH, self._starts[self._group + 1])

    def ended(self) -> bool:
        """Whether it has read its row group to the end, so that it may go anywhere."""
        last = self._held[-1] if self._held else None
        return last is None or last[0] + last[1].num_rows >= self._starts[self._group + 1]

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
