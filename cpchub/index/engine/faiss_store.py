"""FAISS as a store: an index in a file of the collection.

A compressed index still contains images that were removed since it was built; their ids are no longer in the
collection and are dropped from its answers. (FAISS 1.15 can remove vectors from a fast-scan index, but then encodes
added vectors wrongly: it overwrites the rest of the last block.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.common.files import replacing
from cpchub.common.hashing import file_sha256
from cpchub.index.engine import two_stages
from cpchub.index.engine.exact import Found, nearest
from cpchub.index.engine.faiss_import import import_faiss
from cpchub.index.engine.kinds import efforts, parameters
from cpchub.index.engine.mapped import Ids, Vectors
from cpchub.index.engine.two_stages import MATRIX_PRODUCT, TwoStages
from cpchub.index.setting import Kind
from cpchub.index.store import Stats
from cpchub.index.where import Where

ALONE = 8  # queries below which one thread is faster than several
STEP = 65_536  # vectors added at a time


class FaissStore(TwoStages):
    """A FAISS index that answers with ids. path: the file that `snapshot` writes."""

    def __init__(self, kind: Kind, index: Any, ids: Ids, vectors: Vectors, path: Path) -> None:
        super().__init__(kind, ids, vectors)
        self.index, self.path = index, path
        self._faiss = import_faiss()
        self._parameters: dict[tuple[int, int], Any] = {}
        self._id_is_row = not len(ids) or int(ids[-1]) == len(ids) - 1

    def add(self, ids: Ids, vectors: Vectors, items: pa.Table | None = None) -> None:
        """Add vectors `[n, D]` with their ids `[n]`. FAISS keeps nothing of the items."""
        insert(self.index, vectors, ids)

    def delete(self, ids: Ids) -> None:
        """Drop images. A compressed index keeps them; they are left out of its answers, as `ids` lacks them."""
        if self.kind == "exact":
            self.index.remove_ids(np.ascontiguousarray(ids, dtype=np.int64))

    def count(self) -> int:
        """How many vectors are in the index, those of removed images too."""
        return int(self.index.ntotal)

    def stats(self) -> Stats:
        """Facts about the index."""
        inner = self.index.index if isinstance(self.index, self._faiss.IndexIDMap) else self.index
        return Stats(type(self._faiss.downcast_index(inner)).__name__, self.count())

    def snapshot(self) -> str:
        """Write the file, complete or not at all; returns its sha256. Raises NoSpaceError or OutputError."""
        with replacing(self.path) as partial:
            self._faiss.write_index(self.index, str(partial))
            return file_sha256(partial)

    def search(self, q: npt.NDArray[np.float32], k: int, where: Where | None = None) -> Found:
        """As `TwoStages.search`; of an exact index the answer of FAISS is the result."""
        if self.kind != "exact" or where is not None or len(q) >= MATRIX_PRODUCT:
            return super().search(q, k, where)
        with self._threads_for(len(q)):
            scores, ids = self.index.search(q, k)
        return scores, ids if self._id_is_row else np.searchsorted(self.ids, ids)

    def efforts(self) -> list[int | None]:
        """The values of nprobe or efSearch to try."""
        return efforts(self.kind, getattr(self.index, "nlist", 0))

    def candidates(
        self, q: npt.NDArray[np.float32], depth: int, effort: int | None = None, where: Where | None = None
    ) -> list[Ids]:
        """As in `TwoStages`; a condition is left to the caller.

        The index is asked for more than `depth`, so that on average `depth` remain after dropping removed ones.
        """
        depth = min(-(-depth * self.index.ntotal // len(self.ids)), self.index.ntotal)
        with self._threads_for(len(q)):
            found = self.index.search(q, depth, params=self.parameters(depth, effort))[1]
        if self._id_is_row and self.index.ntotal == len(self.ids) and found[:, -1].min() >= 0:
            return list(found)  # none was removed, and no place is empty
        return [self.rows_of(ids) for ids in found]

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

    def search_subset(self, q: npt.NDArray[np.float32], k: int, where: Where) -> Found:
        """Few rows are compared exactly. For many rows, candidates are fetched until enough of them pass the filter.

        The candidates that pass are the best of the subset in the index's order, at the same depth as without a
        filter.
        """
        mask = where.mask
        subset = np.flatnonzero(mask)
        k = min(k, len(subset))
        if k == 0:
            return self.nothing(q)
        if self.kind == "exact" or len(subset) <= two_stages.SMALL_SUBSET:
            return nearest(q, self.vectors, k, subset)
        share, wanted = len(subset) / len(mask), self.depth_for(k)
        # an inverted file or a graph has to be searched wider to meet as many of the subset
        effort = None if self.effort is None else int(np.ceil(self.effort / share))
        found = np.empty((len(q), k), np.float32), np.empty((len(q), k), np.int64)
        for query, vector in enumerate(q):
            depth = int(wanted / share * 1.5)
            while True:
                rows = self.candidates(vector[None], depth, effort)[0]
                rows = rows[mask[rows]]
                if len(rows) >= wanted or depth >= two_stages.SMALL_SUBSET:
                    break
                depth *= 4
            if len(rows) < wanted:
                exact = nearest(vector[None], self.vectors, k, subset)
                found[0][query], found[1][query] = exact[0][0], exact[1][0]
            else:
                found[0][query], found[1][query] = self.best(vector, rows, k)
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


def insert(index: Any, vectors: Vectors, ids: Ids) -> None:
    """Add vectors `[n, D]` with their ids `[n]` to a FAISS index, some at a time."""
    for start in range(0, len(ids), STEP):
        block = np.array(vectors[start : start + STEP], dtype=np.float32)
        index.add_with_ids(block, ids[start : start + STEP])
