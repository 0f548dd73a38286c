"""The columns of a collection as one filters by them: the values there are, with counts, and the ranges of numbers.

Counted once, over the whole collection.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cpchub_serving.visit.filters import FOLDER, Value

NOT_OFFERED = ("id", "path", "mtime_ns", "etag", "sha256")
MOST_VALUES = 1000  # of a text column; one with more is no choice but a text, as a caption is
SHOWN_VALUES = 200
BINS = 24


@dataclass(frozen=True)
class Counted:
    """A value, None where the field is empty, and how many images have it."""

    value: Value
    count: int


@dataclass(frozen=True)
class Choices:
    """The values of a column, the most frequent first; `more` are not listed."""

    column: str
    values: tuple[Counted, ...]
    more: int = 0


@dataclass(frozen=True)
class Range:
    """The smallest and the largest number of a column, and how the images lie between them: a count for each bin."""

    column: str
    low: float
    high: float
    whole: bool
    bins: tuple[int, ...]


def facets_of(items: pa.Table) -> tuple[Choices | Range, ...]:
    """The facets of a table of items: folders first, then its columns in their order.

    A column is left out where it says nothing (one value), nearly as many values as images, or has a name that the
    language of filters cannot write.
    """
    return tuple(_facets(items))


def _facets(items: pa.Table) -> Iterator[Choices | Range]:
    folders = _folders(items["path"])
    if folders is not None:
        yield folders
    for field in items.schema:
        if field.name in NOT_OFFERED or not field.name.isidentifier() or keyword.iskeyword(field.name):
            continue
        found = _of_column(field.name, items[field.name])
        if found is not None:
            yield found


def _of_column(name: str, column: pa.ChunkedArray) -> Choices | Range | None:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind, column = kind.value_type, column.cast(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return _choices(name, column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _range(name, column)
    return None


def _choices(name: str, column: pa.ChunkedArray, most: int = MOST_VALUES) -> Choices | None:
    counted = [(each["values"], each["counts"]) for each in pc.value_counts(column).to_pylist()]
    if not 1 < len(counted) <= most or 2 * len(counted) > len(column) + 2:
        return None
    counted.sort(key=lambda each: (-each[1], str(each[0])))
    listed = tuple(Counted(value, count) for value, count in counted[:SHOWN_VALUES])
    return Choices(name, listed, len(counted) - len(listed))


def _folders(paths: pa.ChunkedArray) -> Choices | None:
    """The folders that the images lie in at the top, as `cats/`."""
    inside = pc.match_substring_regex(paths, "^[^/:]+/")
    if not pc.any(inside).as_py():
        return None
    folders = pc.extract_regex(paths.filter(inside), "^(?P<folder>[^/:]+/)")
    return _choices(FOLDER, pa.chunked_array([pc.struct_field(chunk, "folder") for chunk in folders.chunks]))


def _range(name: str, column: pa.ChunkedArray) -> Range | None:
    numbers = column.drop_null().to_numpy().astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers) or numbers.min() == numbers.max():
        return None
    low, high = float(numbers.min()), float(numbers.max())
    if not math.isfinite(high - low):
        return None
    bins = np.histogram(numbers, BINS, (low, high))[0]
    return Range(name, low, high, pa.types.is_integer(column.type), tuple(bins.tolist()))
