"""The singular value decomposition of features, by way of the smaller Gram matrix."""

from __future__ import annotations

import numpy as np

from cpchub.fewlabels.base import Array


def decomposed(x: Array) -> tuple[Array, Array, Array]:
    """The thin singular value decomposition of `[N, D]` through the smaller of its two Gram matrices, float64."""
    wide = len(x) < x.shape[1]
    squares, basis = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    singular = np.sqrt(np.maximum(squares, 0))
    kept = singular > singular.max() * np.sqrt(max(x.shape) * np.finfo(float).eps)
    singular, basis = singular[kept], basis[:, kept]
    if wide:
        return basis, singular, (x.T @ basis / singular).T
    return x @ basis / singular, singular, basis.T
