"""Two-stage search: an index finds candidates, and the exact vectors rank them.

The index returns ids. Those that are no longer in the collection are dropped here.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from cpchub.index.engine.exact import Found, nearest
from cpchub.index.engine.mapped import Ids, Vectors
from cpchub.index.setting import K, Kind
from cpchub.index.store import Store
from cpchub.index.where import Where

MATRIX_PRODUCT = 32  # queries from which a matrix product is faster than an index that compares all
SMALL_SUBSET = 50_000  # rows that are compared exactly rather than picked out of the candidates


class TwoStages(Store):
    """Searches N vectors `[N, D]` whose ids `[N]` ascend, by row, with the setting that was calibrated for them.

    depth: candidates that are compared exactly, where K are asked for. effort: how hard the index looks for them.
    """

    def __init__(self, kind: Kind, ids: Ids, vectors: Vectors) -> None:
        self.kind, self.ids, self.vectors = kind, ids, vectors
        self.depth, self.effort = K, None  # type: int, int | None

    @abstractmethod
    def candidates(
        self, q: npt.NDArray[np.float32], depth: int, effort: int | None = None, where: Where | None = None
    ) -> list[Ids]:
        """For each query the rows that the index takes for its nearest, in the index's own order, about `depth`."""

    @abstractmethod
    def efforts(self) -> list[int | None]:
        """The efforts to try, least first; [None] for an index without such a setting."""

    def search(self, q: npt.NDArray[np.float32], k: int, where: Where | None = None) -> Found:
        """The k nearest of each unit vector `[Q, D]`: scores `[Q, m]`, rows `[Q, m]`, best first; see `Store`."""
        if where is not None:
            return self.search_subset(q, k, where)
        if self.kind == "exact" and len(q) >= MATRIX_PRODUCT:
            return nearest(q, self.vectors, k)
        return self.ranked(q, self.candidates(q, self.depth_for(k)), k)

    @abstractmethod
    def search_subset(self, q: npt.NDArray[np.float32], k: int, where: Where) -> Found:
        """`search` with a condition."""

    def depth_for(self, k: int) -> int:
        """How many candidates to compare for k results."""
        return max(self.depth, -(-self.depth * k // K))

    def ranked(self, q: npt.NDArray[np.float32], candidates: list[Ids], k: int) -> Found:
        """The k best of each query's candidates, by their exact scores."""
        found = np.empty((len(q), k), np.float32), np.empty((len(q), k), np.int64)
        for query, rows in enumerate(candidates):
            found[0][query], found[1][query] = self.best(q[query], rows, k)
        return found

    def best(self, vector: npt.NDArray[np.float32], rows: Ids, k: int) -> Found:
        """The k best of some rows for one query: scores `[k]` and rows `[k]`."""
        if len(rows) < k:  # too few are left: k is near N, or most candidates were removed
            scores, found = nearest(vector[None], self.vectors, k)
            return scores[0], found[0]
        scores = self.scores(vector, rows)
        order = np.argsort(-scores, kind="stable")[:k]
        return scores[order], rows[order]

    def scores(self, vector: npt.NDArray[np.float32], rows: Ids) -> npt.NDArray[np.float32]:
        """The inner products of a vector with some rows, computed in float32."""
        return self.vectors.take(rows, axis=0).astype(np.float32, copy=False) @ vector

    def rows_of(self, ids: Ids) -> Ids:
        """The rows of those ids that the collection still has."""
        rows = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return rows[self.ids[rows] == ids]

    def nothing(self, q: npt.NDArray[np.float32]) -> Found:
        """The answer where no row fulfils the condition."""
        return np.empty((len(q), 0), np.float32), np.empty((len(q), 0), np.int64)
