"""Ground truth for recall: held-out queries with their exact neighbours, updated with the collection.

The queries are images of the collection that do not train the index, and their own row is left out of the answer. So
they behave like new images of the same kind. One half chooses the search setting; the other half measures the recall
that is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.mapped_items import FOLDER
from cpchub.collection.tables import read_table, write_table
from cpchub.index.engine.exact import nearest
from cpchub.index.engine.mapped import Ids
from cpchub.index.setting import K

TRUTH = "recall.parquet"
QUERIES = 1000  # and at most a quarter of the images
SPARE = 20  # neighbours kept beyond K, so that removing some images leaves the K nearest known


@dataclass
class GroundTruth:
    """Queries `[Q, D]` float32, the id of each, and its nearest others: ids and scores `[Q, T]`, best first.

    Only the first `known[i]` neighbours of query i are certain.
    """

    queries: npt.NDArray[np.float32]
    own: Ids
    ids: Ids
    scores: npt.NDArray[np.float32]
    known: npt.NDArray[np.int64]

    @classmethod
    def draw(cls, vectors: npt.NDArray[Any], ids: Ids) -> GroundTruth:
        """Draw the queries among the rows, the same each time, and find their neighbours by comparing with all."""
        count = max(1, min(QUERIES, len(ids) // 4))
        rows = np.random.default_rng(1).choice(len(ids), count, replace=False)
        width = K + SPARE
        truth = cls(
            queries=np.array(vectors[rows], dtype=np.float32),
            own=ids[rows],
            ids=np.full((count, width), -1),
            scores=np.full((count, width), -np.inf, np.float32),
            known=np.zeros(count, np.int64),
        )
        truth._compare_all(np.arange(count), vectors, ids)
        return truth

    def update(self, vectors: npt.NDArray[Any], ids: Ids, first_new: int) -> None:
        """Follow a change of the collection: ids from `first_new` on are new, ids missing from `ids` are removed."""
        start = int(np.searchsorted(ids, first_new))
        self._forget(ids[:start])  # the new ones too: an update that was killed may have merged them already
        if start < len(ids):
            scores, rows = nearest(self.queries, vectors[start:], min(self.ids.shape[1], len(ids) - start))
            self._merge(np.arange(len(self.own)), scores, ids[start:][rows])
        doubtful = np.flatnonzero(self.known < min(K, len(ids) - 1))
        if len(doubtful):
            self._compare_all(doubtful, vectors, ids)

    def hits(self, query: int, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """How many of the K nearest are among the first 1, 2, ... candidates, given the candidates' exact scores.

        Candidates are compared by score, so any of several equally near images counts.
        """
        last = self.scores[query, min(K, int(self.known[query])) - 1]
        return np.minimum(np.cumsum(scores >= last - 1e-5), K)

    def save(self, folder: Path) -> None:
        """Write it into the collection's folder."""
        columns: dict[str, npt.NDArray[Any]] = {"vector": self.queries, "ids": self.ids, "scores": self.scores}
        lists = {
            name: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
            for name, values in columns.items()
        }
        write_table(pa.table({"id": self.own, **lists, "known": self.known}), folder / FOLDER / TRUTH)

    @classmethod
    def load(cls, folder: Path) -> GroundTruth:
        """Read it. Raises CollectionError where it is missing or damaged."""
        table = read_table(folder / FOLDER / TRUTH)

        def matrix(name: str) -> npt.NDArray[Any]:
            flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            return np.array(flat).reshape(table.num_rows, -1)

        return cls(matrix("vector"), table["id"].to_numpy(), matrix("ids"), matrix("scores"), np.array(table["known"]))

    def _forget(self, ids: Ids) -> None:
        """Remove the neighbours that are gone or uncertain, and close the gaps."""
        gone = ~np.isin(self.ids, ids) | (np.arange(self.ids.shape[1]) >= self.known[:, None])
        order = np.argsort(gone, axis=1, kind="stable")
        self.ids = np.where(np.take_along_axis(gone, order, 1), -1, np.take_along_axis(self.ids, order, 1))
        self.scores = np.take_along_axis(np.where(gone, np.float32(-np.inf), self.scores), order, 1)
        self.known = (self.ids >= 0).sum(axis=1)

    def _compare_all(self, which: npt.NDArray[np.int64], vectors: npt.NDArray[Any], ids: Ids) -> None:
        width = self.ids.shape[1]
        self.ids[which], self.scores[which] = -1, -np.inf
        scores, rows = nearest(self.queries[which], vectors, min(width + 1, len(ids)))
        self._merge(which, scores, ids[rows])
        self.known[which] = (self.ids[which] >= 0).sum(axis=1)

    def _merge(self, which: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], ids: Ids) -> None:
        """Merge newly compared neighbours; the query itself is not a neighbour."""
        scores = np.where(ids == self.own[which, None], np.float32(-np.inf), scores)
        ids = np.where(ids == self.own[which, None], -1, ids)
        scores, ids = np.hstack([self.scores[which], scores]), np.hstack([self.ids[which], ids])
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.ids.shape[1]]
        self.scores[which], self.ids[which] = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
