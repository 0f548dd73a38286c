"""Group near pairs of images around the images to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.collection.copies import small_copies
from cpchub.common.vectors import unit_length
from cpchub.index import Index
from cpchub.index.neighbours import Neighbours
from cpchub.index.same_file import files_of
from cpchub.media.whole import MOST_DIFFERENT, Small, differences, same_aspect

MANY = 1000  # images that are linked by near pairs, up to which all are compared with all that are kept
AT_ONCE = 4096  # pairs

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Rows of a collection, the one that is kept first, and for each: whether another has its bytes, its cosine to the
    kept one, and how far it differs from that as a whole image (NaN: not compared). The kept one has those of the
    most similar other.
    """

    rows: list[int]
    exact: list[bool]
    similarity: list[float]
    difference: list[float]


class Grouping:
    """Groups the images of a collection, by cosine and as whole images.

    contents: a number for each row, the same for the same bytes. least: the cosine from which two can be near. confirm:
    compare near ones as whole images too, by their proportions alone where they are not readable. tell: called with the
    share of these images that is read. Afterwards the counters say what was left out.
    """

    def __init__(
        self,
        index: Index,
        contents: Rows,
        least: float,
        *,
        confirm: bool,
        readable: bool,
        progress: bool,
        tell: Callable[[float], None] | None = None,
    ) -> None:
        self.index, self.contents, self.least = index, contents, least
        self.confirm, self.readable, self.progress = confirm, confirm and readable, progress
        self.tell = tell
        self.other_names = self.changed = self.differing = self.unread = 0

    def groups(self, neighbours: Neighbours) -> list[Group]:
        """All groups, the largest first."""
        together = self._connected(neighbours)
        files = files_of(self.index.collection, [row for rows in together for row in rows])
        self.other_names, self.changed = len(files.names), len(files.changed)
        names = Counter(files.names.values())
        out = files.changed | files.names.keys()
        rows = [[row for row in some if row not in out] for some in together]
        listed = sorted(row for some in rows for row in some)
        self._items = dict(zip(listed, self._described(listed), strict=True))

        def rank(row: int) -> tuple[object, ...]:
            """A file before a link, then the one of most pixels, of most bytes, the one that links lead to."""
            item = self._items[row]
            pixels = (item["width"] or 0) * (item["height"] or 0)
            return row in files.links, -pixels, -(item["size"] or 0), -names[row], item["path"]

        units = [self._by_content(sorted(some, key=rank)) for some in rows if len(some) > 1]
        several = [unit[0] for some in units if len(some) > 1 for unit in some]
        small: dict[int, Small] = {}
        if self.readable:
            small = small_copies(self.index.collection, several, progress=self.progress, tell=self.tell)
        parts = [part for some in units for part in self._parts(some, neighbours, small)]
        found = [group for part in parts for group in self._around_kept(part, small)]
        return sorted(found, key=lambda group: (-len(group.rows), self._items[group.rows[0]]["path"]))

    def _connected(self, neighbours: Neighbours) -> list[list[int]]:
        """Rows that are linked by near pairs and equal contents, of more than one each."""
        one, place = np.nonzero(neighbours.scores >= self.least)
        count = int(self.contents.max()) + 1
        component = _components(count, self.contents[one], self.contents[neighbours.rows[one, place]])[self.contents]
        return [part.tolist() for part in _split(component) if len(part) > 1]

    def _parts(
        self, units: list[list[int]], neighbours: Neighbours, small: dict[int, Small]
    ) -> Iterator[list[list[int]]]:
        """The units themselves; many units are split by comparing pairs as whole images.

        A weak encoder may link a whole collection, which is too many to compare all with all.
        """
        if len(units) <= MANY:
            yield units
            return
        firsts = np.array([unit[0] for unit in units], dtype=np.int64)
        places = np.full(len(self.contents), -1)
        places[self.contents[firsts]] = np.arange(len(units))
        one, rank = np.nonzero(neighbours.scores[firsts] >= self.least)
        other = places[self.contents[neighbours.rows[firsts[one], rank]]]
        one, other = np.minimum(one, other)[other >= 0], np.maximum(one, other)[other >= 0]
        one, other = np.unique(np.stack([one, other]), axis=1)
        different = self._differences(firsts[one], firsts[other], small) > MOST_DIFFERENT
        self.differing += int(different.sum())
        for part in _split(_components(len(units), one[~different], other[~different])):
            yield [units[place] for place in part]

    def _described(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        columns = self.index.items.select(["path", "size", "width", "height"])
        described: list[dict[str, Any]] = columns.take(np.array(rows, dtype=np.int64)).to_pylist()
        return described

    def _by_content(self, rows: list[int]) -> list[list[int]]:
        """Rows in lists of the same bytes; all keep their order."""
        units: dict[int, list[int]] = {}
        for row in rows:
            units.setdefault(int(self.contents[row]), []).append(row)
        return list(units.values())

    def _around_kept(self, units: list[list[int]], small: dict[int, Small]) -> Iterator[Group]:
        """Repeat until no image is left: keep the best one, and group all that are near it.

        So every image that is listed as superfluous is near a kept one, even in a long chain of near images.
        """
        firsts = np.array([unit[0] for unit in units], dtype=np.int64)
        order = np.argsort(firsts)  # mapped vectors are read forwards
        vectors = np.empty((len(firsts), self.index.collection.dim), np.float32)
        vectors[order] = self.index.vectors[firsts[order]]
        vectors = unit_length(vectors)  # float16 keeps lengths to three digits
        left = np.arange(len(units))
        while len(left):
            kept, others = left[0], left[1:]
            cosines = vectors[others] @ vectors[kept]
            near = cosines >= self.least
            different = np.full(len(others), np.nan)
            pairs = np.full(int(near.sum()), firsts[kept]), firsts[others[near]]
            different[near] = self._differences(*pairs, small)
            self.differing += int((different > MOST_DIFFERENT).sum())
            near &= ~(different > MOST_DIFFERENT)
            self.unread += int(np.isnan(different[near]).sum())
            group = self._group(units, kept, others[near], cosines[near], different[near])
            if len(group.rows) > 1:
                yield group
            left = others[~near]

    def _differences(self, ones: Rows, others: Rows, small: dict[int, Small]) -> npt.NDArray[np.float64]:
        """How far images differ from others, both `[M]`, as wholes: `[M]`, NaN where that is not known."""
        found = np.full(len(ones), np.nan)
        if not self.confirm:
            return found
        for start in range(0, len(ones), AT_ONCE):
            pairs = list(
                zip(ones[start : start + AT_ONCE].tolist(), others[start : start + AT_ONCE].tolist(), strict=True)
            )
            known = [place for place, pair in enumerate(pairs) if pair[0] in small and pair[1] in small]
            if known:
                one, other = (np.stack([small[pairs[place][side]] for place in known]) for side in (0, 1))
                found[np.array(known) + start] = differences(one, other)
            shapes = np.array([[self._shape(row) for row in pair] for pair in pairs], dtype=np.float64)
            found[start : start + AT_ONCE][~same_aspect(shapes[:, 0], shapes[:, 1])] = np.inf
        return found

    def _shape(self, row: int) -> tuple[float, float]:
        """Width and height, NaN where they are not known."""
        width, height = self._items[row]["width"], self._items[row]["height"]
        return (float(width), float(height)) if width and height else (np.nan, np.nan)

    def _group(
        self,
        units: list[list[int]],
        kept: int,
        others: Rows,
        cosines: npt.NDArray[np.float32],
        different: npt.NDArray[np.float64],
    ) -> Group:
        order = np.argsort(-cosines, kind="stable")
        members = [(units[kept], 1.0, 0.0)]
        members += [(units[others[i]], float(cosines[i]), float(different[i])) for i in order]
        rows = [(row, len(unit) > 1, *near) for unit, *near in members for row in unit]
        if len(rows) > 1:
            rows[0] = (*rows[0][:2], *rows[1][2:])
        return Group(*(list(column) for column in zip(*rows, strict=True)))


def _components(count: int, one: Rows, other: Rows) -> Rows:
    """The number of the connected component of each of `count` nodes, by edges from `one` to `other`."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = coo_matrix((np.ones(len(one), np.bool_), (one, other)), shape=(count, count))
    return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int64)


def _split(numbers: Rows) -> list[Rows]:
    """The places of each number, in order."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
