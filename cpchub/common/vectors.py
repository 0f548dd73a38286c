"""Vectors at unit length."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

TINY = np.finfo(np.float32).tiny  # the least divisor: a vector of zeros divided by it stays zero, not NaN


def unit_length(vectors: npt.NDArray[Any], axis: int = -1) -> npt.NDArray[np.float32]:
    """Scale the vectors along `axis` to length 1, as float32. A vector of zeros stays zero."""
    x = np.asarray(vectors, dtype=np.float32)
    return np.ascontiguousarray(x / np.maximum(_lengths(x, axis), TINY))


def without_direction(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Row numbers of the vectors `[N, D]` that cannot be scaled to length 1, because they are zero or not finite."""
    lengths = _lengths(vectors, 1)[:, 0]
    has_direction = np.isfinite(lengths) & (lengths > 0)
    return np.flatnonzero(~has_direction)


def _lengths(x: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """Euclidean lengths along `axis`, which is kept with size 1."""
    return np.asarray(np.linalg.norm(x, axis=axis, keepdims=True))
