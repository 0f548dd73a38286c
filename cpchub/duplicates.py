"""Groups of pictures that are the same, byte for byte or to the eye of the encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.errors import ArgumentError
from cpchub.index import Index
from cpchub.neighbours import Neighbours, nearest_others

NEIGHBOURS = 10
FAR_FROM_USUAL = 5.0  # standard deviations
IDENTICAL = 1 - 1e-6  # the highest threshold: rounding keeps equal vectors a little apart
LEAST_SPREAD = 1e-3  # of the log distances: rounding alone must not make all pictures duplicates
FEWEST = 20  # pictures, below which there is no usual distance to tell a duplicate from


@dataclass(frozen=True)
class Duplicates:
    """table: one row a picture that has a duplicate: group, path, kind, similarity, width, height, size, keep.

    kind is "exact" for one whose bytes another of its group has, else "near". similarity is the cosine to the most
    similar other one of the group. keep marks one of each group, the one of most pixels. threshold: the cosine from
    which two pictures are near-duplicates; how: where that number comes from.
    """

    table: pa.Table
    threshold: float
    how: str

    @property
    def groups(self) -> int:
        """The number of groups."""
        return len(self.table["group"].unique())


def find_duplicates(index: Index, *, threshold: float | None = None, progress: bool = True) -> Duplicates:
    """Group the pictures of a collection that are duplicates of each other.

    threshold: the cosine from which two are; by default it is calibrated, as `calibrate_threshold` says. Groups are
    connected: of a chain of pictures, each a duplicate of the next, all are one group.

    Raises ArgumentError for a threshold outside 0 to 1.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise ArgumentError(f"threshold={threshold}: a cosine above 0 and up to 1")
    contents = _contents(index)
    if len(index) < 2:
        return Duplicates(_table(index, np.zeros(len(index), int), contents, {}), threshold or IDENTICAL, "one picture")
    neighbours = nearest_others(index, NEIGHBOURS, progress=progress)
    if threshold is None:
        threshold, how = calibrate_threshold(neighbours, contents)
    else:
        how = "it was given"
    one, place = np.nonzero(neighbours.scores >= min(threshold, IDENTICAL))
    other = neighbours.rows[one, place]
    similarity: dict[int, float] = {}
    for a, b, score in zip(one.tolist(), other.tolist(), neighbours.scores[one, place].tolist(), strict=True):
        similarity[a], similarity[b] = max(similarity.get(a, -1), score), max(similarity.get(b, -1), score)
    first = np.unique(contents, return_index=True)[1][contents]
    groups = _connected(len(index), np.concatenate([one, np.arange(len(index))]), np.concatenate([other, first]))
    return Duplicates(_table(index, groups, contents, similarity), threshold, how)


def calibrate_threshold(neighbours: Neighbours, contents: npt.NDArray[np.int64]) -> tuple[float, str]:
    """The cosine that the nearest neighbour of an ordinary picture hardly ever reaches, and a sentence about it.

    The logarithms of the distances of pictures to their nearest others are about normal. Duplicates are a second, much
    nearer population, so centre and spread are taken where they do not reach: the median, and the half above it. The
    threshold lies five standard deviations below the median. Copies byte for byte are left out of the count. Where
    more than half of the pictures have near-duplicates the median is one of those, and a threshold should be given.
    """
    alone = np.bincount(contents)[contents] == 1
    distances = neighbours.distances()[alone]
    distances = distances[distances > np.sqrt(2 - 2 * IDENTICAL)]
    if len(distances) < FEWEST:
        return IDENTICAL, f"fewer than {FEWEST} different pictures tell no usual distance, so only equal vectors count"
    logarithms = np.log(distances)
    median, above = np.quantile(logarithms, [0.5, 0.8413])
    nearest = np.exp(median - FAR_FROM_USUAL * max(above - median, LEAST_SPREAD))
    threshold = float(min(1 - nearest**2 / 2, IDENTICAL))
    usual = 1 - np.exp(median) ** 2 / 2
    return threshold, (
        f"the nearest other picture is usually at {usual:.4f}; {threshold:.4f} is "
        f"{FAR_FROM_USUAL:g} standard deviations of the log distance nearer"
    )


def _contents(index: Index) -> npt.NDArray[np.int64]:
    """A number for each picture, the same for the same bytes."""
    hashes = index.items["sha256"].to_pylist()
    numbers: dict[str, int] = {}
    known = [f"row {row}" if sha256 is None else sha256 for row, sha256 in enumerate(hashes)]
    return np.array([numbers.setdefault(sha256, len(numbers)) for sha256 in known], dtype=np.int64)


def _connected(count: int, one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = coo_matrix((np.ones(len(one), np.bool_), (one, other)), shape=(count, count))
    return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int64)


def _table(
    index: Index, groups: npt.NDArray[np.int64], contents: npt.NDArray[np.int64], similarity: dict[int, float]
) -> pa.Table:
    """The groups of more than one, the largest first, and in each the one to keep first."""
    sizes, copies = np.bincount(groups, minlength=1), np.bincount(contents, minlength=1)
    rows = np.flatnonzero(sizes[groups] > 1)
    items = index.items.select(["path", "width", "height", "size"]).take(rows)
    pixels = [
        (width or 0) * (height or 0)
        for width, height in zip(items["width"].to_pylist(), items["height"].to_pylist(), strict=True)
    ]
    size, paths = [size or 0 for size in items["size"].to_pylist()], items["path"].to_pylist()
    order = sorted(
        range(len(rows)), key=lambda i: (-sizes[groups[rows[i]]], groups[rows[i]], -pixels[i], -size[i], paths[i])
    )
    places = np.array(order, dtype=np.int64)
    items, rows = items.take(places), rows[places]
    starts = np.diff(groups[rows], prepend=-1) != 0
    exact = copies[contents[rows]] > 1
    similarities = [1.0 if same else similarity[row] for row, same in zip(rows.tolist(), exact, strict=True)]
    columns = {
        "group": np.cumsum(starts),
        "path": items["path"],
        "kind": np.where(exact, "exact", "near").tolist(),
        "similarity": np.round(similarities, 4),
        "width": items["width"],
        "height": items["height"],
        "size": items["size"],
        "keep": starts,
    }
    return pa.table(columns)
