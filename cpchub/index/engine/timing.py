"""How long a query takes on this machine: with the index, and if every vector is compared."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cpchub.index.engine.two_stages import TwoStages
from cpchub.index.setting import K

TIMED = 20  # queries, after a first one that loads what the others find in memory
COMPARED = 65_536  # vectors that are compared; the time of more is in proportion


def query_ms(store: TwoStages, queries: npt.NDArray[np.float32]) -> float:
    """Milliseconds of one query, the median of some of `queries` `[Q, D]`, on one thread."""
    return _median_ms(lambda query: store.search(query, K), queries)


def scan_ms(store: TwoStages, queries: npt.NDArray[np.float32]) -> float:
    """Milliseconds to compare all vectors of the store with one query, from a part of them in memory."""
    part = np.array(store.vectors[:COMPARED], dtype=np.float32)
    return _median_ms(lambda query: query @ part.T, queries) * len(store.ids) / max(1, len(part))


def _median_ms(what: Callable[[npt.NDArray[np.float32]], object], queries: npt.NDArray[np.float32]) -> float:
    what(queries[:1])
    spent = []
    for query in queries[:TIMED]:
        started = time.perf_counter()
        what(query[None])
        spent.append(time.perf_counter() - started)
    return 1000 * float(np.median(spent))
