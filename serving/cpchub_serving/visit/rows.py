"""The rows of a collection: which there are, and a mixed order of them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cpchub.errors import QueryError


def check_row(row: int | str, count: int) -> int:
    """`row` as an int if it is a row of `count` images. What a browser sends comes as text. Raises QueryError."""
    number = int(row) if not isinstance(row, str) or (row.isascii() and row.isdecimal()) else -1
    if not 0 <= number < count:
        raise QueryError(f"There is no image {row!r}; the rows go from 0 to {count - 1}.")
    return number


@lru_cache(maxsize=4)
def mixed_order(count: int) -> NDArray[np.int64]:
    """A fixed shuffle of all rows: a folder sorted by class would fill its first page with one class.

    One read-only array, which all visitors share.
    """
    order = np.random.default_rng(0).permutation(count)
    order.setflags(write=False)
    return order
