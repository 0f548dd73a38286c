"""Duplicates: images with equal bytes, or images that are near in the encoder's space and as whole images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.copies import IDENTICAL, small_copies, usual_distance
from cpchub.errors import ArgumentError
from cpchub.index import Index
from cpchub.index.near_groups import Group, Grouping
from cpchub.index.near_threshold import calibrate_threshold, cosine_text, threshold_reaching
from cpchub.index.neighbours import Neighbours, nearest_others

NEIGHBOURS = 10  # of other content
MOST_COPIES = 30  # of one image, beyond which fewer of other content are looked at


@dataclass(frozen=True)
class Duplicates:
    """table: one row an image that has a duplicate, in the columns group, path, kind, similarity, difference, width,
    height, size, keep.

    kind is "exact" for one whose bytes another of its group has, else "near". keep marks one of each group: a file
    rather than a link, then the one of most pixels. similarity is the cosine to that one, difference how far it is from
    it as a whole image: 0 is the same, 1 the most that is listed, null where it was not compared. For the one that is
    kept they are those of the most similar other one.

    threshold: the cosine from which two images can be near-duplicates; how: where that number comes from; notes:
    sentences about what is not listed.
    """

    table: pa.Table
    threshold: float
    how: str
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> int:
        """The number of groups."""
        return len(self.table["group"].unique())


def neighbours_needed(index: Index) -> int:
    """How many neighbours of each image it takes to find duplicates: more where many have the same bytes."""
    return NEIGHBOURS + min(int(np.bincount(_contents(index)).max()), MOST_COPIES) - 1


def find_duplicates(
    index: Index,
    *,
    threshold: float | None = None,
    confirm: bool = True,
    progress: bool = True,
    neighbours: Neighbours | None = None,
    tell: Callable[[float], None] | None = None,
) -> Duplicates:
    """Group the images of a collection that are duplicates of one that is kept.

    threshold: the cosine from which two may be; by default it is calibrated, as `calibrate_threshold` says. confirm:
    compare near ones as whole images too, for which they are read from their source; where they cannot be read, the
    encoder alone decides. neighbours: at least `neighbours_needed` of each image, where they have been found before.
    tell: called with the share of the near ones that is read; what it raises ends the search.

    Every image of a group is near the one that is kept: of a chain of images, each like the next, several are kept.
    Links to a file are that file, and a file that changed since it was embedded is left out.

    Raises ArgumentError for a threshold outside 0 to 1.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise ArgumentError(f"threshold={threshold}: a cosine above 0 and up to 1")
    if len(index) < 2:
        return Duplicates(_table(index, []), threshold or IDENTICAL, "one image")
    contents = _contents(index)
    neighbours = neighbours or nearest_others(index, neighbours_needed(index), progress=progress)
    readable = confirm and _can_be_read(index)
    how, given = "the threshold that you gave", threshold is not None
    if threshold is None:
        small = partial(small_copies, index.collection, progress=False) if readable else None
        usual = usual_distance(index.vectors, contents, small)
        threshold, how = calibrate_threshold(neighbours, contents, usual, confirmed=readable)
    least = min(threshold, IDENTICAL)
    grouping = Grouping(index, contents, least, confirm=confirm, readable=readable, progress=progress, tell=tell)
    groups = grouping.groups(neighbours)
    notes = [*_left_out(grouping, confirm)]
    if not given and all(all(group.exact) for group in groups):
        notes += _value_to_try(neighbours, contents, least)
    return Duplicates(_table(index, groups), threshold, how, tuple(notes))


def _contents(index: Index) -> npt.NDArray[np.int64]:
    """One number per image; equal bytes have equal numbers."""
    hashes = index.items["sha256"].to_pylist()
    numbers: dict[str, int] = {}
    known = [f"row {row}" if sha256 is None else sha256 for row, sha256 in enumerate(hashes)]
    return np.array([numbers.setdefault(sha256, len(numbers)) for sha256 in known], dtype=np.int64)


def _can_be_read(index: Index) -> bool:
    """Whether the images can still be read; three of them are tried."""
    some = sorted({0, len(index) // 2, len(index) - 1})
    return bool(small_copies(index.collection, some, progress=False))


def _left_out(grouping: Grouping, confirm: bool) -> Iterator[str]:
    """Sentences about what is not listed, or listed with less certainty."""
    if grouping.other_names:
        yield f"Not listed: links and second names of files, which are the same image ({grouping.other_names:,})."
    if grouping.changed:
        yield (
            f"Not listed: images that are gone or changed since they were embedded ({grouping.changed:,}). Run "
            "`cpchub index` again."
        )
    if grouping.differing:
        yield (
            "Not listed: pairs that are near for the encoder, which sees a square from the middle, and differ as whole "
            f"images ({grouping.differing:,})."
        )
    if confirm and grouping.unread:
        yield (
            f"Listed by the encoder alone: near pairs of which an image cannot be read now ({grouping.unread:,}), in "
            f"{grouping.index.collection.location}."
        )


def _value_to_try(neighbours: Neighbours, contents: npt.NDArray[np.int64], least: float) -> Iterator[str]:
    """If no near pair was found: the cosine of the nearest pair, and a threshold that would include it."""
    other = (contents[neighbours.rows] != contents[:, None]) & (neighbours.scores < least)
    best = float(neighbours.scores[other].max(initial=0))
    if best > 0:
        yield (
            "No two images of different bytes are as near as that. The nearest two are at a cosine of "
            f"{cosine_text(best)}: threshold {threshold_reaching(best)} reaches them."
        )


def _table(index: Index, groups: Sequence[Group]) -> pa.Table:
    """The groups as a table; the image to keep comes first in each group."""
    rows = [row for group in groups for row in group.rows]
    items = index.items.select(["path", "width", "height", "size"]).take(pa.array(rows, pa.int64()))
    different = np.array([value for group in groups for value in group.difference], dtype=np.float64)
    columns = {
        "group": pa.array([number for number, group in enumerate(groups, 1) for _ in group.rows], pa.int64()),
        "path": items["path"],
        "kind": pa.array(["exact" if exact else "near" for group in groups for exact in group.exact], pa.string()),
        "similarity": pa.array([round(value, 6) for group in groups for value in group.similarity], pa.float64()),
        "difference": pa.array(np.round(different, 3), pa.float64(), from_pandas=True),
        "width": items["width"],
        "height": items["height"],
        "size": items["size"],
        "keep": pa.array([place == 0 for group in groups for place in range(len(group.rows))], pa.bool_()),
    }
    return pa.table(columns)
