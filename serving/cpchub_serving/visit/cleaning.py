"""One visitor's way through what may be wrong: a queue, which of it is shown, and what is said of it.

What is shown stays as it is until another page is asked for: nothing moves under the pointer when it is marked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from cpchub.errors import QueryError
from cpchub.index import Index
from cpchub_serving.visit.checks import Checks, Copy, Found
from cpchub_serving.visit.marks import KEEP, REMOVE, Mark, Marks, Say
from cpchub_serving.visit.rows import check_row

DUPLICATES, OUTLIERS, BROKEN = QUEUES = ("duplicates", "outliers", "broken")
TO_DO, MARKED, ALL = SHOWN = ("to do", "marked", "all")
A_PAGE = {DUPLICATES: 8, OUTLIERS: 48, BROKEN: 48}  # groups, images, files


@dataclass(eq=False)
class Cleaning:
    """What a visitor looks at. places: those of the queue that are on the page, of `total` that fit."""

    queue: str = DUPLICATES
    shown: str = TO_DO
    page: int = 0
    places: list[int] | None = None
    total: int = 0
    steps: list[int] = field(default_factory=list)


class Cleaner:
    """The queues of one collection and what is said of them; shared by all visitors."""

    def __init__(self, index: Index) -> None:
        self.paths = index.paths
        self.checks = Checks(index)
        self.marks = Marks(index.collection.folder, saved=index.collection.stored is None)
        self._looked_for: set[str] = set()
        self._found_here: set[str] = set()
        self._kept_units: dict[str, list[list[str]]] = {}

    # -- what there is --------------------------------------------------------------------------------------------

    def sizes(self, queue: str) -> tuple[int, int]:
        """Of a queue: how many units (groups, images, files) there are, and of how many nothing is said yet."""
        marked = self.marks.now()
        units = self._units(queue)
        return len(units), sum(all(path not in marked for path in unit) for unit in units)

    def to_remove(self) -> int:
        """How many images of the collection and broken files are marked to be removed; others are gone already."""
        return len(self._here([path for path, mark in self.marks.now().items() if mark.say == REMOVE]))

    def turn(self, state: Cleaning, queue: str | None = None, shown: str | None = None, page: int = 0) -> None:
        """Show another queue, part of it, or page. Raises QueryError for one that is not there."""
        queue, shown = queue or state.queue, shown or state.shown
        if queue not in QUEUES or shown not in SHOWN:
            raise QueryError(f"There is no queue {queue!r} of what is {shown!r}; reload the page.")
        units, marked = self._units(queue), self.marks.now()
        wanted = [
            place
            for place, unit in enumerate(units)
            if shown == ALL or (shown == MARKED) == any(path in marked for path in unit)
        ]
        size = A_PAGE[queue]
        page = min(max(0, page), max(0, (len(wanted) - 1) // size))
        state.queue, state.shown, state.page = queue, shown, page
        state.places, state.total = wanted[page * size : (page + 1) * size], len(wanted)

    def group(self, place: int | str) -> list[Copy]:
        """A group of duplicates, the one to keep first. Raises QueryError where there is none."""
        groups = self._found().groups
        return groups[check_row(place, len(groups))]

    def outlier(self, place: int) -> tuple[int, float]:
        """Row and mean similarity of an outlier."""
        return self._found().outliers[place]

    # -- what is said of it ---------------------------------------------------------------------------------------

    def toggle(self, state: Cleaning, row: int | str) -> None:
        """Mark an image to be removed; a second time take its mark away. A kept one is to be removed then."""
        path = self.paths[check_row(row, len(self.paths))]
        now = self.marks.now().get(path)
        marked = now is not None and now.say == REMOVE
        self._say(state, {path: None if marked else Mark(REMOVE, self._reason(state, path))})

    def toggle_broken(self, state: Cleaning, place: int | str) -> None:
        """The same of a file that could not be read."""
        path, reason = self.checks.broken[check_row(place, len(self.checks.broken))]
        marked = path in self.marks.now()
        self._say(state, {path: None if marked else Mark(REMOVE, f"cannot be read: {reason}")})

    def keep_first(self, state: Cleaning, place: int | str) -> None:
        """Keep the first of a group, and mark the others to be removed."""
        self._say(state, self._first_kept(self.group(place)))

    def keep_all(self, state: Cleaning, place: int | str) -> None:
        """Keep all of a group: they are different images for this visitor."""
        self._say(state, dict.fromkeys((self.paths[each.row] for each in self.group(place)), Mark(KEEP)))

    def remove_copies(self, state: Cleaning) -> None:
        """Of all groups of which nothing is said: mark the ones whose bytes are those of the one that is kept."""
        marked, said = self.marks.now(), dict[str, Mark | None]()
        for group in self._found().groups:
            if not any(self.paths[each.row] in marked for each in group):
                same = [each for each in group if each.same]
                said |= self._first_kept(same) if len(same) > 1 else {}
        self._say(state, said)

    def keep_page(self, state: Cleaning) -> None:
        """Keep the outliers on the page of which nothing is said."""
        marked = self.marks.now()
        paths = [self.paths[self.outlier(place)[0]] for place in state.places or []]
        self._say(state, {path: Mark(KEEP) for path in paths if path not in marked})

    def undo(self, state: Cleaning) -> bool:
        """One step back; False where there is none."""
        while state.steps:
            if self.marks.undo(state.steps.pop()):
                return True
        return False

    def _here(self, paths: list[str]) -> set[str]:
        """Those of some paths that are of an image of the collection, or of a broken file."""
        if unknown := set(paths) - self._looked_for:
            found = pc.is_in(self.paths.column, value_set=pa.array(sorted(unknown), pa.string()))
            self._found_here |= {*self.paths.column.filter(found).to_pylist()}
            self._found_here |= unknown & {path for path, _ in self.checks.broken}
            self._looked_for |= unknown
        return self._found_here & set(paths)

    def _say(self, state: Cleaning, said: dict[str, Mark | None]) -> None:
        if said:
            state.steps = [*state.steps, self.marks.change(said)][-50:]

    def _first_kept(self, group: list[Copy]) -> dict[str, Mark | None]:
        first = self.paths[group[0].row]
        others: dict[str, Mark | None] = {
            self.paths[each.row]: Mark(REMOVE, f"{'copy' if each.same else 'near-duplicate'} of {first}")
            for each in group[1:]
        }
        return {first: Mark(KEEP), **others}

    def _reason(self, state: Cleaning, path: str) -> str:
        if state.queue == OUTLIERS:
            return "outlier"
        for place in state.places or []:
            names = [self.paths[each.row] for each in self.group(place)]
            if path in names:
                return f"like {names[0] if path != names[0] else names[1]}"
        return ""

    def _units(self, queue: str) -> list[list[str]]:
        """The paths of each unit of a queue."""
        if queue not in self._kept_units:
            if queue != BROKEN and self.checks.found is None:
                return []
            self._kept_units[queue] = self._paths_of(queue)
        return self._kept_units[queue]

    def _paths_of(self, queue: str) -> list[list[str]]:
        if queue == BROKEN:
            return [[path] for path, _ in self.checks.broken]
        if queue == OUTLIERS:
            return [[self.paths[row]] for row, _ in self._found().outliers]
        return [[self.paths[each.row] for each in group] for group in self._found().groups]

    def _found(self) -> Found:
        if self.checks.found is None:
            raise QueryError("The images are still being compared; wait a moment.")
        return self.checks.found


def says(mark: Mark | None) -> Say | None:
    """What a mark says; None without one."""
    return None if mark is None else mark.say
