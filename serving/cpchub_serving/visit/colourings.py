"""The ways in which the map of a collection can be coloured; what takes long is computed once."""

from __future__ import annotations

from functools import cached_property
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from cpchub.errors import QueryError
from cpchub.index import Index
from cpchub_serving.visit.colouring import CALLED, Colouring, by_cluster, by_column, columns_of

COLUMN, CLUSTER = "column:", "cluster"


class Colourings:
    """Colourings by the columns and the clusters of one collection, for all visitors."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._lock = Lock()
        self._kept: dict[str, Colouring] = {}

    @cached_property
    def choices(self) -> list[tuple[str, str]]:
        """Key and name of each, the most telling first."""
        columns = columns_of(self.index.items)
        named = [(COLUMN + name, CALLED.get(name, name)) for name in columns]
        first = [each for each in named if each[0] == f"{COLUMN}label"]
        return [*first, (CLUSTER, "cluster (k-means)"), *(each for each in named if each not in first)]

    def of(self, key: str) -> Colouring:
        """The colouring of a key. Raises QueryError for one that is not among the choices."""
        if key not in dict(self.choices):
            raise QueryError(f"The map cannot be coloured by {key!r}; reload the page.")
        with self._lock:  # of several visitors who ask at once one computes
            if key not in self._kept:
                self._kept[key] = by_cluster(self.index) if key == CLUSTER else self._by_column(key[len(COLUMN) :])
            return self._kept[key]

    def _by_column(self, name: str) -> Colouring:
        column = self.index.items[name]
        if name == "mtime_ns":
            column = pc.cast(column, pa.timestamp("ns"))
        return by_column(column)
