"""What the points of a map are coloured by: a column, clusters, labels; a code for each image, and its legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cpchub.index import Index

NOTHING = 65535  # the code of an image without a value
COLOURS = 10  # of the palette
STEPS = 1000  # of a ramp
CLUSTERS = 10
ENDS = (0.01, 0.99)  # of a ramp: one value far off would make all others alike
NOT_OFFERED = ("id", "path", "etag", "sha256")
CALLED = {"mtime_ns": "changed", "size": "file size"}


@dataclass(frozen=True, eq=False)
class Colouring:
    """A code `[N]` uint16 for each image: the place of its entry, or of numbers a step from 0 to STEPS; or NOTHING.

    entries: name, colour (0 to 9, None: grey) and count of each; low, high: the ends of a ramp, in words.
    """

    codes: NDArray[np.uint16]
    entries: list[dict[str, Any]] = field(default_factory=list)
    low: str | None = None
    high: str | None = None

    def legend(self) -> dict[str, Any]:
        """What a legend shows, as JSON."""
        nothing = int((self.codes == NOTHING).sum())
        return {"entries": self.entries, "low": self.low, "high": self.high, "steps": STEPS, "nothing": nothing}


def by_class(codes: NDArray[Any], names: Sequence[str]) -> Colouring:
    """Of the place of each image's class, below 0 for none; a class keeps its colour as long as it keeps its place."""
    counts = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
    entries = [{"name": name, "colour": i % COLOURS, "count": counts[i]} for i, name in enumerate(names)]
    return Colouring(np.where(codes < 0, NOTHING, codes).astype(np.uint16), entries)


def by_column(column: pa.ChunkedArray) -> Colouring:
    """Of a column of the collection: numbers and dates along a ramp, all else by its most frequent values."""
    kind = column.type
    if pa.types.is_temporal(kind) or pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return _along_a_ramp(column)
    return _by_frequency(column)


def by_cluster(index: Index) -> Colouring:
    """Of clusters by k-means on the vectors, the largest first; the same on every call."""
    from sklearn.cluster import MiniBatchKMeans

    count = min(CLUSTERS, len(index))
    found = MiniBatchKMeans(count, batch_size=4096, n_init=3, random_state=0).fit_predict(index.vectors)
    order = np.argsort(-np.bincount(found, minlength=count), kind="stable")
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    return by_class(place[found], [f"cluster {number}" for number in range(1, count + 1)])


def columns_of(items: pa.Table) -> list[str]:
    """The columns of a collection that tell some of its images from others."""
    offered = [name for name in items.column_names if name not in NOT_OFFERED]
    return [name for name in offered if _differ(items[name])]


def _differ(column: pa.ChunkedArray) -> bool:
    if pa.types.is_nested(column.type) or column.null_count == len(column):
        return False
    distinct = len(pc.unique(column))
    number = pa.types.is_temporal(column.type) or pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    return distinct > 1 and (number or distinct <= max(COLOURS, len(column) // 2))  # of names, nearly all differ


def _by_frequency(column: pa.ChunkedArray) -> Colouring:
    encoded = pc.fill_null(column.cast(pa.string()), "").combine_chunks().dictionary_encode()
    names, found = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    counts = np.bincount(found, minlength=len(names))
    common = sorted((i for i, name in enumerate(names) if name), key=lambda i: (-counts[i], names[i]))
    common, others = common[:COLOURS], common[COLOURS:]
    common = sorted(common, key=lambda i: names[i])
    code = np.full(len(names), NOTHING)
    code[common] = np.arange(len(common))
    code[others] = len(common)
    entries = [{"name": names[i], "colour": place, "count": int(counts[i])} for place, i in enumerate(common)]
    if others:
        rest = int(counts[others].sum())
        entries.append({"name": f"{len(others):,} others", "colour": None, "count": rest})
    return Colouring(code[found].astype(np.uint16), entries)


def _along_a_ramp(column: pa.ChunkedArray) -> Colouring:
    dates = pa.types.is_temporal(column.type)
    numbers = column.cast(pa.timestamp("s")).cast(pa.int64()) if dates else column
    values = pc.fill_null(numbers.cast(pa.float64(), safe=False), np.nan).to_numpy()
    known = np.isfinite(values)
    low, high = np.quantile(values[known], ENDS)
    share = (values - low) / max(float(high - low), 1e-12)
    codes = np.where(known, np.rint(STEPS * np.clip(np.nan_to_num(share), 0, 1)), NOTHING).astype(np.uint16)
    words = [str(np.datetime64(int(end), "s"))[:10] if dates else f"{end:,.6g}" for end in (low, high)]
    return Colouring(codes, low=words[0], high=words[1])
