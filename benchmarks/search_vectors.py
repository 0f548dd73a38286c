"""Vectors to search that are as hard as an encoder's: a mixture of clusters, or new ones around real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


def clusters(count: int, dim: int, seed: int) -> Vectors:
    """2,000 soft clusters; the standard deviation of direction i falls as i^-0.6."""
    random = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    spectrum = (np.arange(1, dim + 1) ** -0.6).astype(np.float32)
    centres = fixed.standard_normal((2000, dim), dtype=np.float32)
    turn = np.linalg.qr(fixed.standard_normal((dim, dim)))[0].astype(np.float32)
    vectors = centres[random.integers(0, len(centres), count)]
    vectors = vectors + 0.7 * random.standard_normal((count, dim), dtype=np.float32)
    return unit((vectors * spectrum) @ turn)


def like(real: Vectors, count: int, *, dim: int, seed: int) -> Vectors:
    """New vectors like real ones: their first `dim` principal coordinates, each moved a little towards a stranger's.

    A mix of 85 % of one and 15 % of another real vector, and noise with the spectrum of the distance to the nearest
    neighbour, keeps clusters, density and spectrum, and makes no two alike.
    """
    random = np.random.default_rng(seed)
    mean = real.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov((real - mean)[:20_000].T))
    coordinates = real @ axes[:, ::-1][:, :dim].astype(np.float32)
    spread = 0.15 * coordinates.std(axis=0)
    one, other = random.integers(0, len(real), (2, count))
    vectors = 0.85 * coordinates[one] + 0.15 * coordinates[other]
    return unit(vectors + spread * random.standard_normal((count, dim), dtype=np.float32))


def unit(vectors: npt.NDArray[Any]) -> Vectors:
    """Rows of length 1, float32."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
