"""Results as a CSV and as a zip of the images, written piece by piece while they are sent."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from cpchub.collection.collection import Collection
from cpchub.common.columns import Texts
from cpchub.common.words import counted
from cpchub.errors import CpchubError, QueryError
from cpchub_serving.visit.finder import Finder

Rows = npt.NDArray[np.int64]
LINES = 1000  # rows that are read at once
MOST_FILES, MOST_BYTES = 2000, 2 * 2**30
UNSAFE = ("", ".", "..")


def results_csv(finder: Finder, rows: Rows, scores: npt.NDArray[np.float32] | None) -> Iterator[str]:
    """A table of results, best first: rank and score where there was a query, then the columns of the collection."""
    names = finder.index.items.column_names
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*(["rank", "score"] if scores is not None else []), *names])
    for start in range(0, len(rows), LINES):
        some = slice(start, start + LINES)
        items = finder.index.items.take(rows[some]).to_pylist()
        for place, item in enumerate(items, start):
            found = [] if scores is None else [place + 1, f"{scores[place]:.6f}"]
            writer.writerow([*found, *(item[name] for name in names)])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    if not len(rows):
        yield buffer.getvalue()


def check_zip(collection: Collection, rows: Rows) -> None:
    """Raise QueryError if there are too many images, or too many bytes, for one zip."""
    if len(rows) > MOST_FILES:
        raise QueryError(
            f"A zip holds at most {MOST_FILES:,} images, these are {len(rows):,}. Choose fewer results, or a filter."
        )
    size = sum(each or 0 for each in collection.mapped_items["size"].take(rows).to_pylist())
    if size > MOST_BYTES:
        raise QueryError(f"These images take {size / 2**30:.1f} GB, a zip at most 2 GB. Choose fewer results.")


def originals_zip(collection: Collection, rows: Rows) -> Iterator[bytes]:
    """The image files of rows as a zip, uncompressed: images are compressed already. One file is in memory at a time.

    An image that cannot be read is named in `missing.txt`, as are those after MOST_BYTES.
    """
    sink, missing, names, size = _Sink(), list[str](), set[str](), 0
    paths = Texts(collection.mapped_items["path"])
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for row in rows.tolist():
            path = paths[row]
            try:
                source = collection.image(row)
                content = source if isinstance(source, bytes) else Path(source).read_bytes()
            except (CpchubError, OSError):
                missing.append(f"{path}: cannot be read")
                continue
            size += len(content)
            if size > MOST_BYTES:
                missing.append(f"{path}: the zip is full")
                continue
            archive.writestr(_name(path, row, names), content)
            yield sink.taken()
        if missing:
            lines = [f"{counted(len(missing), 'image')} not in this zip:", *missing]
            archive.writestr("missing.txt", "\n".join(lines) + "\n")
    yield sink.taken()


def _name(path: str, row: int, taken: set[str]) -> str:
    """A name in the zip that leads to no other folder, and that no earlier one has."""
    parts = [part for part in PurePosixPath(path.replace("\\", "/").replace(":", "_")).parts if part.strip("/")]
    name = "/".join(part for part in parts if part not in UNSAFE) or str(row)
    if name in taken or name == "missing.txt":
        name = f"{row}-{name.replace('/', '_')}"
    taken.add(name)
    return name


class _Sink(io.RawIOBase):
    """A file that is only written forwards; what was written is taken out piece by piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def taken(self) -> bytes:
        """What was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
