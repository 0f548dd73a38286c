"""Answers to queries: which images, in which order, near-duplicates folded; computed once for all pages of results."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

import numpy as np
import numpy.typing as npt

from cpchub.errors import QueryError
from cpchub.index.where import rows_where
from cpchub_serving.visit.alike import Group, copy_threshold, folded
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.query import MOST, Part, Query
from cpchub_serving.visit.rows import mixed_order
from cpchub_serving.visit.uploads import Uploads

PAGE = 48  # results that are drawn at once
STEPS = (200, MOST)  # results that are searched for: a few pages, then all there may be
KEPT = 32  # answers


@dataclass(frozen=True)
class Answer:
    """The results of a query, best first.

    rows: `[n]`. scores: `[n]`, the cosine to the query; None where the collection itself is shown, in a mixed order.
    groups: the results with near-duplicates folded; None where nothing is folded. fitting: how many images of the
    collection fit the filter.
    """

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32] | None
    groups: list[Group] | None
    fitting: int
    search_ms: float

    @property
    def drawn(self) -> int:
        """How many tiles the results are."""
        return len(self.rows) if self.groups is None else len(self.groups)

    def page(self, start: int, count: int) -> list[Group]:
        """The groups of some tiles, by their places."""
        if self.groups is not None:
            return self.groups[start : start + count]
        return [Group(place) for place in range(start, min(start + count, len(self.rows)))]


class Searches:
    """Answers the queries of all visitors; the newest answers are kept, for the next page of them."""

    def __init__(self, finder: Finder, uploads: Uploads) -> None:
        self.finder = finder
        self.uploads = uploads
        self._kept: OrderedDict[tuple[Query, int], Answer] = OrderedDict()
        self._lock = Lock()

    def answer(self, query: Query, tiles: int = PAGE) -> Answer:
        """The results of a query, of which at least `tiles` are known (or all there are).

        Raises QueryError for a filter that is not understood, an image that is not there, and images that cancel each
        other out.
        """
        if not query.parts:
            return self._collection(query)
        for step in STEPS:
            wanted = min(query.k, step)
            found = self._once(query, wanted)
            if found.drawn >= tiles or len(found.rows) < wanted or wanted == query.k:
                break
        return found

    def rows_of(self, query: Query) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32] | None]:
        """All results of a query, `[n]`, those that are folded too, and their scores; raises as `answer` does."""
        found = self.answer(query, query.k)
        return found.rows, found.scores

    def row_of(self, part: Part) -> int | None:
        """The row of an image of the collection, None for an upload. Raises QueryError for an id that is not there."""
        if part.id is None:
            return None
        try:
            return self.finder.index.row_of(part.id)
        except (QueryError, OverflowError) as error:  # its own words name the folder on this machine
            raise QueryError(f"There is no image with id {part.id} in this collection.") from error

    @cached_property
    def alike_from(self) -> float:
        """The cosine from which two results are near-duplicates."""
        return copy_threshold(self.finder.features)

    def _once(self, query: Query, wanted: int) -> Answer:
        key = (replace(query, k=0), wanted)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        found = self._search(query, wanted)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _collection(self, query: Query) -> Answer:
        started = time.perf_counter()
        order, mask = mixed_order(self.finder.count), self._mask(query)
        rows = order if mask is None else order[mask[order]]
        return Answer(rows, None, None, len(rows), 1000 * (time.perf_counter() - started))

    def _search(self, query: Query, wanted: int) -> Answer:
        own = [row for part in query.parts if (row := self.row_of(part)) is not None]
        vector = np.sum([part.weight * self._vector(part) for part in query.parts], axis=0)
        if not np.linalg.norm(vector) > 1e-6:
            raise QueryError("The images of this query cancel each other out; remove one, or change its weight.")
        started = time.perf_counter()
        mask = self._mask(query)
        fitting = self.finder.count if mask is None else int(mask.sum())
        # The images of the query are no results. They need not be among the nearest, as equal images have equal scores.
        scores, rows = self.finder.index.search_vectors(
            vector, min(wanted + len(own), self.finder.count), where=query.where or None
        )
        others = ~np.isin(rows[0], own)
        rows, scores = rows[0][others][:wanted], scores[0][others][:wanted]
        search_ms = 1000 * (time.perf_counter() - started)
        groups = folded(self.finder.features[rows], self.alike_from)
        return Answer(rows, scores, groups, fitting, search_ms)

    def _vector(self, part: Part) -> npt.NDArray[np.float32]:
        row = self.row_of(part)
        vector = self.uploads.get(part.name).vector if row is None else self.finder.features[row]
        return np.asarray(vector, np.float32).reshape(-1)

    def _mask(self, query: Query) -> npt.NDArray[np.bool_] | None:
        return rows_where(self.finder.index.items, query.where) if query.where else None
