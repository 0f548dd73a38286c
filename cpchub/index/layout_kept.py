"""The layout of a collection, kept in its folder: made once, and again where the collection has changed too much.

    map.parquet    id, content, x, y, placed; the encoder and the method in its metadata

`content` is the beginning of the image's sha256. A row whose image is the same keeps its point, whatever else changes.
A few new images are put among their neighbours (`placed`), many lead to a new layout. The file is derived: it may be
deleted.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.tables import read_table, write_table
from cpchub.errors import CollectionError, OutputError
from cpchub.index import Index
from cpchub.index.layout import Points, Tell, neighbour_layout, nothing_told, placed_beside
from cpchub.index.plane import project_to_plane

FILE = "map.parquet"
MADE_BY = b"cpchub.map"
VERSION = "tsne 1"  # counts up when other points come out
MOST_PLACED = 0.2  # share of the images up to which new ones are put among their neighbours


@dataclass(frozen=True)
class Kept:
    """A layout of the images that a collection has now: points `[N, 2]` float32, and which of them were put among
    others, `[N]`. saved: whether it is in the collection's folder, which may be read-only.
    """

    points: Points
    placed: npt.NDArray[np.bool_]
    saved: bool


def layout_of(index: Index, tell: Tell = nothing_told) -> Kept:
    """The layout that is kept in the folder of a collection; made and kept now where there is none that fits.

    It fits where the same encoder embedded the images and at most a fifth of them came after it was made; these are put
    among their neighbours. tell: as for `neighbour_layout`.

    Raises ArgumentError for fewer than three images, DependencyError without openTSNE.
    """
    kept = kept_layout(index)
    if kept is None:
        points = neighbour_layout(index, project_to_plane(index.vectors), tell)
        kept = Kept(points, np.zeros(len(points), dtype=bool), saved=False)
    if not kept.saved:
        with suppress(OutputError):  # read-only or full: then it is made again another time
            _write(index, kept)
            return replace(kept, saved=True)
    return kept


def kept_layout(index: Index) -> Kept | None:
    """The layout that is kept, with the images of now; None where none fits. Nothing is written."""
    table = _read(index)
    if table is None:
        return None
    keys = list(zip(index.items["id"].to_pylist(), _contents(index), strict=True))
    row_of = {
        key: row for row, key in enumerate(zip(table["id"].to_pylist(), table["content"].to_pylist(), strict=True))
    }
    rows = np.array([row_of.get(key, -1) for key in keys], dtype=np.int64)
    known = rows >= 0
    placed = ~known
    placed[known] = table["placed"].to_numpy()[rows[known]]
    if placed.mean() > MOST_PLACED:
        return None
    points = np.zeros((len(rows), 2), np.float32)
    points[known] = np.stack([table[axis].to_numpy() for axis in ("x", "y")], axis=1)[rows[known]]
    return Kept(placed_beside(index, points, known), placed, saved=bool(known.all()))


def _write(index: Index, kept: Kept) -> None:
    columns = {
        "id": index.items["id"],
        "content": pa.array(_contents(index), pa.string()),
        "x": kept.points[:, 0],
        "y": kept.points[:, 1],
        "placed": kept.placed,
    }
    table = pa.table(columns).replace_schema_metadata({MADE_BY: _made_by(index)})
    write_table(table, index.collection.folder / FILE)


def _read(index: Index) -> pa.Table | None:
    try:
        table = read_table(index.collection.folder / FILE)
    except CollectionError:  # missing, or damaged: it is made again
        return None
    whole = {"id", "content", "x", "y", "placed"} <= set(table.column_names)
    return table if whole and (table.schema.metadata or {}).get(MADE_BY) == _made_by(index) else None


def _made_by(index: Index) -> bytes:
    return f"{VERSION}, {index.collection.manifest['encoder']['fingerprint']}".encode()


def _contents(index: Index) -> list[str]:
    """The beginning of each image's sha256; empty for vectors that were imported."""
    return [(sha256 or "")[:12] for sha256 in index.items["sha256"].to_pylist()]
