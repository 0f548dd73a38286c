"""Two-stage search: a FAISS index finds candidates, and the exact vectors rank them.

The index returns ids. It still contains images that were removed since it was built; their ids are no longer in the
collection and are dropped here. (FAISS 1.15 can remove vectors from a fast-scan index, but then encodes added vectors
wrongly: it overwrites the rest of the last block.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.index.engine.exact import Found, nearest
from cpchub.index.engine.faiss_import import import_faiss
from cpchub.index.engine.kinds import parameters
from cpchub.index.engine.mapped import Ids, Vectors
from cpchub.index.setting import K, Kind

ALONE = 8  # queries below which one thread is faster than several
MATRIX_PRODUCT = 32  # queries from which a matrix product is faster than FAISS's exact index
SMALL_SUBSET = 50_000  # rows that are compared exactly rather than picked out of the candidates


class Engine:
    """Searches N vectors `[N, D]` whose ids `[N]` ascend, by row, with the setting that was calibrated for them."""

    def __init__(self, kind: Kind, index: Any, ids: Ids, vectors: Vectors) -> None:
        self.kind, self.index, self.ids, self.vectors = kind, index, ids, vectors
        self.depth, self.effort = K, None  # type: int, int | None
        self._faiss = import_faiss()
        self._parameters: dict[tuple[int, int], Any] = {}
        self._id_is_row = not len(ids) or int(ids[-1]) == len(ids) - 1

    def search(self, q: npt.NDArray[np.float32], k: int, mask: npt.NDArray[np.bool_] | None = None) -> Found:
        """The k nearest of each unit vector `[Q, D]`: scores `[Q, k]`, rows `[Q, k]`, best first.

        mask: `[N]`, which rows may be found; at least k of them.
        """
        if mask is not None:
            return self._search_subset(q, k, mask)
        if self.kind == "exact":
            if len(q) >= MATRIX_PRODUCT:
                return nearest(q, self.vectors, k)
            with self._threads_for(len(q)):
                scores, ids = self.index.search(q, k)
            return scores, ids if self._id_is_row else np.searchsorted(self.ids, ids)
        depth = max(self.depth, -(-self.depth * k // K))
        found = np.empty((len(q), k), np.float32), np.empty((len(q), k), np.int64)
        for query, rows in enumerate(self.candidates(q, depth)):
            found[0][query], found[1][query] = self._best(q[query], rows, k)
        return found

    def candidates(self, q: npt.NDArray[np.float32], depth: int, effort: int | None = None) -> list[Ids]:
        """For each query the rows that the index takes for its nearest, in the index's own order.

        The index is asked for more than `depth`, so that on average `depth` remain after dropping removed ones.
        """
        depth = min(-(-depth * self.index.ntotal // len(self.ids)), self.index.ntotal)
        with self._threads_for(len(q)):
            found = self.index.search(q, depth, params=self.parameters(depth, effort))[1]
        if self._id_is_row and self.index.ntotal == len(self.ids) and found[:, -1].min() >= 0:
            return list(found)  # none was removed, and no place is empty
        return [self._rows(ids) for ids in found]

    def parameters(self, depth: int, effort: int | None = None) -> Any:
        """FAISS's search parameters, with the calibrated effort where none is given; None where it takes none."""
        effort = self.effort if effort is None else effort
        if effort is None:
            return None
        made = self._parameters.get((depth, effort))
        if made is None:  # making them takes longer than some searches
            made = parameters(self.kind, effort, depth)
            self._parameters = {(depth, effort): made}
        return made

    def scores(self, vector: npt.NDArray[np.float32], rows: Ids) -> npt.NDArray[np.float32]:
        """The inner products of a vector with some rows, computed in float32."""
        return self.vectors.take(rows, axis=0).astype(np.float32, copy=False) @ vector

    def _rows(self, ids: Ids) -> Ids:
        """The rows of those ids that the collection still has."""
        rows = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return rows[self.ids[rows] == ids]

    def _best(self, vector: npt.NDArray[np.float32], rows: Ids, k: int) -> Found:
        if len(rows) < k:  # too few are left: k is near N, or most candidates were removed
            scores, found = nearest(vector[None], self.vectors, k)
            return scores[0], found[0]
        scores = self.scores(vector, rows)
        order = np.argsort(-scores, kind="stable")[:k]
        return scores[order], rows[order]

    def _search_subset(self, q: npt.NDArray[np.float32], k: int, mask: npt.NDArray[np.bool_]) -> Found:
        """Few rows are compared exactly. For many rows, candidates are fetched until enough of them pass the filter.

        The candidates that pass are the best of the subset in the index's order, at the same depth as without a
        filter.
        """
        subset = np.flatnonzero(mask)
        if self.kind == "exact" or len(subset) <= SMALL_SUBSET:
            return nearest(q, self.vectors, k, subset)
        share = len(subset) / len(mask)
        wanted = max(self.depth, -(-self.depth * k // K))
        # an inverted file or a graph has to be searched wider to meet as many of the subset
        effort = None if self.effort is None else int(np.ceil(self.effort / share))
        found = np.empty((len(q), k), np.float32), np.empty((len(q), k), np.int64)
        for query, vector in enumerate(q):
            depth = int(wanted / share * 1.5)
            while True:
                rows = self.candidates(vector[None], depth, effort)[0]
                rows = rows[mask[rows]]
                if len(rows) >= wanted or depth >= SMALL_SUBSET:
                    break
                depth *= 4
            if len(rows) < wanted:
                exact = nearest(vector[None], self.vectors, k, subset)
                found[0][query], found[1][query] = exact[0][0], exact[1][0]
            else:
                found[0][query], found[1][query] = self._best(vector, rows, k)
        return found

    @contextmanager
    def _threads_for(self, queries: int) -> Iterator[None]:
        """One thread for a few queries: a second OpenMP thread makes a single scan several times slower, not faster."""
        if queries >= ALONE:
            yield
            return
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)
        try:
            yield
        finally:
            self._faiss.omp_set_num_threads(before)
