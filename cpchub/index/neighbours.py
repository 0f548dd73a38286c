"""The nearest neighbours of every image, used by duplicates, outliers and the map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.console import Console

from cpchub.common.progress import Report
from cpchub.index import Index

AT_ONCE = 1024  # queries a batch


@dataclass(frozen=True)
class Neighbours:
    """For each of N images its k nearest others, best first: cosines `[N, k]` float32 and rows `[N, k]` int64."""

    scores: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]

    def distances(self) -> npt.NDArray[np.float64]:
        """The Euclidean distances of each image to its nearest others, `[N, k]`, from the cosines."""
        return np.asarray(np.sqrt(np.maximum(2 - 2 * self.scores.astype(np.float64), 0)))


def nearest_others(
    index: Index, k: int, *, progress: bool = True, tell: Callable[[float], None] | None = None
) -> Neighbours:
    """The k nearest others of every image, by the index. k is taken as N - 1 where there are fewer.

    tell: called after each batch with the share that is done; what it raises ends the search.
    """
    count, k = len(index), min(k, len(index) - 1)
    scores, rows = np.empty((count, k), np.float32), np.empty((count, k), np.int64)
    with Report("Comparing", count, console=Console(stderr=True, quiet=not progress)) as report:
        for start in range(0, count, AT_ONCE):
            own = np.arange(start, min(start + AT_ONCE, count))
            found_scores, found = index.search_vectors(index.vectors[own], k + 1)
            # drop the image itself; if more than k twins hide it, drop the last neighbour
            itself = found == own[:, None]
            itself[~itself.any(axis=1), -1] = True
            scores[own], rows[own] = found_scores[~itself].reshape(-1, k), found[~itself].reshape(-1, k)
            report.advance(len(own))
            if tell is not None:
                tell((start + len(own)) / count)
    return Neighbours(scores, rows)
