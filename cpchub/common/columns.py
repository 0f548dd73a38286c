"""Columns of Arrow as numpy and Python see them, without pandas and without a copy.

pyarrow imports pandas, which takes a fifth of a second, as soon as numpy's arrays are converted its own way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

AT_ONCE = 10_000  # rows that are Python objects at the same time


def numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column of numbers without empty fields, `[N]`, read-only; of one chunk, its own memory."""
    parts = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
    if not parts:
        return np.empty(0, column.type.to_pandas_dtype())
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def taken(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """The rows `[n]` of a table, in that order."""
    rows = np.ascontiguousarray(rows, np.int64)
    return table.take(pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(rows)]))


class Texts(Sequence[str]):
    """A column of texts as a sequence of Python's, which are made when they are asked for.

    A million paths as a list take 100 MB of a process; here they stay where the column is.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step != 1:
                return [self[each] for each in range(start, stop, step)]
            found: list[str] = self.column.slice(start, max(0, stop - start)).to_pylist()
            return found
        try:
            text: str = self.column[int(place)].as_py()
        except IndexError:
            raise IndexError(f"no text {place} of {len(self)}") from None
        return text

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            yield from self.column.slice(start, AT_ONCE).to_pylist()
