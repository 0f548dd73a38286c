"""Vectors at unit length."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

TINY = np.finfo(np.float32).tiny


def unit_length(vectors: npt.NDArray[Any], axis: int = -1) -> npt.NDArray[np.float32]:
    """Vectors along `axis` as float32 of length 1; a vector of zeros stays zero."""
    x = np.asarray(vectors, dtype=np.float32)
    return np.ascontiguousarray(x / np.maximum(_lengths(x, axis), TINY))


def without_direction(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The rows of `[N, D]` that cannot be brought to unit length: zero, or with a value that is not finite."""
    lengths = _lengths(vectors, 1)[:, 0]
    return np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))


def _lengths(x: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    return np.asarray(np.linalg.norm(x, axis=axis, keepdims=True))
