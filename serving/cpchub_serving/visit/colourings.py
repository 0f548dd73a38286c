"""The ways in which the map of a collection can be coloured; what takes long is computed once."""

from __future__ import annotations

from functools import cached_property
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cpchub.errors import QueryError
from cpchub.index import Index
from cpchub_serving.visit.colouring import CALLED, Colouring, by_class, by_cluster, by_column, columns_of
from cpchub_serving.visit.label_set import Labels
from cpchub_serving.visit.label_sets import FIRST, LabelSets

COLUMN, CLUSTER, LABELS, PREDICTIONS = "column:", "cluster", "labels", "predictions"
OF_A_SET = {LABELS: "labels given here", PREDICTIONS: "predictions"}  # these change with every label


class Colourings:
    """Colourings of one collection, for all visitors: by columns, clusters, and what the label sets say."""

    def __init__(self, index: Index, sets: LabelSets) -> None:
        self.index = index
        self.sets = sets
        self._lock = Lock()
        self._kept: dict[str, Colouring] = {}

    @cached_property
    def choices(self) -> list[tuple[str, str]]:
        """Key and name of each, the most telling first."""
        columns = columns_of(self.index.items)
        named = [(COLUMN + name, CALLED.get(name, name)) for name in columns]
        first = [each for each in named if each[0] == f"{COLUMN}label"]
        rest = [each for each in named if each not in first]
        return [*first, (CLUSTER, "cluster (k-means)"), *OF_A_SET.items(), *rest]

    def of(self, key: str, set_name: str = "") -> Colouring:
        """The colouring of a key; set_name: whose labels, by default those of the first set.

        Raises QueryError for a key that is not among the choices, LabelError for a set that cannot be read.
        """
        if key not in dict(self.choices):
            raise QueryError(f"The map cannot be coloured by {key!r}; reload the page.")
        if key in OF_A_SET:
            return self._by_labels(set_name or FIRST, predicted=key == PREDICTIONS)
        with self._lock:  # of several visitors who ask at once one computes
            if key not in self._kept:
                self._kept[key] = by_cluster(self.index) if key == CLUSTER else self._by_column(key[len(COLUMN) :])
            return self._kept[key]

    def _by_column(self, name: str) -> Colouring:
        column = self.index.items[name]
        if name == "mtime_ns":
            column = pc.cast(column, pa.timestamp("ns"))
        return by_column(column)

    def _by_labels(self, set_name: str, *, predicted: bool) -> Colouring:
        now = self.sets.open(set_name).refresh()
        codes = np.full(len(self.index), -1, np.int64)
        found = self.sets.learned(set_name).predictions(self.index.vectors, now) if predicted else None
        if found is not None:
            codes = np.array([now.classes.index(name) for name in found.classes])[found.chosen]
        return by_class(_labelled(codes, now), now.classes)


def _labelled(codes: NDArray[np.int64], now: Labels) -> NDArray[np.int64]:
    """The codes, with those of the labelled images as their labels say."""
    place = {name: number for number, name in enumerate(now.classes)}
    codes[list(now.labels)] = [place[name] for name in now.labels.values()]
    return codes
