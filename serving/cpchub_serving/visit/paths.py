"""Finding an image by what a person types: its path, a part of it, or `id:42`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from cpchub.errors import QueryError
from cpchub_serving.visit.finder import Finder

OFFERED = 8
COMPARED = 200  # paths that share the most with what was typed, which are compared letter by letter
BY_ID = re.compile(r"id:\s*(\d{1,18})")


class Paths:
    """The paths of a collection, to be typed."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._column = finder.index.items["path"]
        self._above = f"{finder.index.collection.location.rstrip('/')}/"

    def row_of(self, text: str) -> int:
        """The row of the image that a text names: `id:42`, its path, or a part that no other path has.

        Raises QueryError, with what is nearest.
        """
        text = text.strip()
        found = BY_ID.fullmatch(text)
        if found is not None:
            try:
                return self._finder.index.row_of(int(found[1]))
            except QueryError as error:  # its own words name the folder on this machine
                raise QueryError(f"There is no image with id {found[1]} in this collection.") from error
        text = text.removeprefix(self._above)
        if not text:
            raise QueryError("Type a path of the collection, or id:42.")
        row = pc.index(self._column, text).as_py()
        if row >= 0:
            return int(row)
        fitting = self._fitting(text)
        if len(fitting) == 1:
            return int(fitting[0])
        if len(fitting):
            raise QueryError(f"{len(fitting):,} paths have {text!r} in them; choose one.")
        raise QueryError(f"No path of the collection is like {text!r}.")

    def offered(self, text: str) -> list[str]:
        """Up to eight paths for a text, the likeliest first: those that begin with it, whose name does, that have it,
        or the part after its last slash; where none has it, those that are most like it.
        """
        text = text.strip().removeprefix(self._above)
        if len(text) < 1 or text.startswith("id:"):
            return []
        rows = self._fitting(text)
        if not len(rows):
            whole, text = text, text.rpartition("/")[2]
            rows = self._fitting(text) if text else rows
            if not len(rows):
                return self._nearest(whole)
        low = text.lower()
        paths = [self._finder.paths[row] for row in rows[: 50 * OFFERED].tolist()]

        def rank(path: str) -> tuple[bool, bool, int, str]:
            path = path.lower()
            return not path.startswith(low), not path.rpartition("/")[2].startswith(low), len(path), path

        return sorted(paths, key=rank)[:OFFERED]

    def _fitting(self, text: str) -> npt.NDArray[np.int64]:
        return np.flatnonzero(pc.match_substring(self._column, text, ignore_case=True).to_numpy())

    def _nearest(self, text: str) -> list[str]:
        shared = np.zeros(len(self._column), np.int16)
        for part in _threes(text):
            shared += pc.match_substring(self._column, part, ignore_case=True).to_numpy()
        rows = np.argsort(-shared, kind="stable")[:COMPARED]
        paths = [self._finder.paths[row] for row in rows[shared[rows] > 0].tolist()]
        by_name = {path.rpartition("/")[2].lower(): path for path in reversed(paths)}
        names = difflib.get_close_matches(text.rpartition("/")[2].lower(), by_name, OFFERED, cutoff=0.5)
        near = difflib.get_close_matches(text, paths, OFFERED, cutoff=0.5)
        return list(dict.fromkeys([*near, *(by_name[name] for name in names)]))[:OFFERED]


def _threes(text: str) -> Iterator[str]:
    """Each three letters in a row, once."""
    yield from dict.fromkeys(text[i : i + 3] for i in range(max(1, min(len(text), 80) - 2)))
