"""Outliers: images that are far from all others of their collection."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from cpchub.errors import ArgumentError
from cpchub.index import Index
from cpchub.index.neighbours import Neighbours, nearest_others

FAR_FROM_USUAL = 4.0  # standard deviations


def find_outliers(
    index: Index, *, k: int = 10, progress: bool = True, neighbours: Neighbours | None = None
) -> pa.Table:
    """Every image, the most unusual first: path, label, similarity, outlier.

    similarity: the mean cosine to the k nearest others. outlier: True where the log distance exceeds the median by 4
    sigma. Sigma is estimated from the lower half of the distribution, so outliers do not inflate it.
    neighbours: at least k of each image, where they have been found before.

    Raises ArgumentError for k below 1 or a collection of one image.
    """
    if k < 1 or len(index) < 2:
        raise ArgumentError(f"k={k} neighbours of {len(index)} images: both have to be more")
    neighbours = neighbours or nearest_others(index, k, progress=progress)
    similarity = neighbours.scores[:, :k].mean(axis=1, dtype=np.float64)
    logarithms = np.log(np.sqrt(np.maximum(2 - 2 * similarity, 1e-12)))
    below, median = np.quantile(logarithms, [0.1587, 0.5])
    order = np.argsort(similarity, kind="stable")
    return pa.table(
        {
            **{name: index.items[name].take(order) for name in ("path", "label")},
            "similarity": np.round(similarity[order], 4),
            "outlier": (logarithms > median + FAR_FROM_USUAL * max(median - below, 1e-3))[order],
        }
    )
