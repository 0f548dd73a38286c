"""What `Index` asks of a store of vectors: FAISS in a file of the collection, or Milvus.

A store is derived. The collection has the vectors and the items, and a store can be made again from it at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.index.engine.exact import Found
from cpchub.index.engine.mapped import Ids, Vectors
from cpchub.index.setting import Kind
from cpchub.index.where import Where


@dataclass(frozen=True)
class Stats:
    """Facts about a store. index: its kind in the words of its engine. vectors: how many it holds."""

    index: str
    vectors: int


class Store(Protocol):
    """Finds the nearest of N vectors, by their rows in the collection.

    kind: how it searches. ids: `[N]`, the id of each row, ascending. vectors: `[N, D]` of unit length, by row.
    """

    kind: Kind
    ids: Ids
    vectors: Vectors

    def add(self, ids: Ids, vectors: Vectors, items: pa.Table) -> None:
        """Add vectors `[n, D]` of images that it does not hold; their ids and their items, `[n]` each."""

    def delete(self, ids: Ids) -> None:
        """Drop images that the collection no longer has. Ids that it does not hold change nothing."""

    def search(self, q: npt.NDArray[np.float32], k: int, where: Where | None = None) -> Found:
        """The k nearest of each unit vector `[Q, D]`: scores `[Q, m]` and rows `[Q, m]`, best first.

        where: a condition that the rows fulfil. m is k, or the number of rows that fulfil it where that is smaller.
        """

    def count(self) -> int:
        """How many vectors it holds. Those of removed images count where the store keeps them."""

    def stats(self) -> Stats:
        """Facts about it."""

    def snapshot(self) -> str:
        """Make what was added and dropped permanent; returns the mark by which this state is recognised later."""
