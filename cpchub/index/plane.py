"""The plane of largest variance of a set of vectors: a first map, at once at any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.errors import ArgumentError

BLOCK = 16_384


def project_to_plane(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Vectors `[N, D]` as points `[N, 2]` float32: the two directions of largest variance (PCA), at once at any size.

    Raises ArgumentError for fewer than three vectors.
    """
    if len(vectors) < 3:
        raise ArgumentError(f"a map of {len(vectors)} images says nothing; it takes 3 or more")
    return _pca(vectors)


def _pca(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Block by block, so that mapped vectors are never in memory as a whole."""
    count, dim = vectors.shape
    total, squares = np.zeros(dim), np.zeros((dim, dim))
    for start in range(0, count, BLOCK):
        block = np.asarray(vectors[start : start + BLOCK], dtype=np.float64)
        total += block.sum(axis=0)
        squares += block.T @ block
    mean = total / count
    axes = np.linalg.eigh(squares / count - np.outer(mean, mean))[1][:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # the sign of an axis is arbitrary: fix it
    points = [np.asarray(vectors[start : start + BLOCK]) @ axes for start in range(0, count, BLOCK)]
    return np.asarray(np.concatenate(points) - mean @ axes, dtype=np.float32)
