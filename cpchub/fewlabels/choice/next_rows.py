"""Which rows of a matrix of vectors to label next, and why each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from cpchub.collection.collection import Collection
from cpchub.collection.copies import Copies
from cpchub.common.vectors import without_direction
from cpchub.errors import ArgumentError, LabelError
from cpchub.fewlabels.base import unit_rows
from cpchub.fewlabels.choice.cover import Cover
from cpchub.fewlabels.choice.doubt import Doubt
from cpchub.fewlabels.choice.pool import Pool, looked_at

Strategy = Literal["auto", "typical", "margin", "density", "disagreement", "errors"]
NO_CLASSES = ("auto", "typical")  # strategies that need no label
OF_EACH = 10  # candidates for each image of a batch, by doubt alone, among which it is spread


@dataclass(frozen=True)
class Next:
    """A row to label next. reason: why, in words."""

    row: int
    reason: str


def label_next(
    vectors: npt.NDArray[np.floating],
    labels: Mapping[int, str],
    n: int = 20,
    *,
    strategy: Strategy = "auto",
    seed: int = 0,
) -> list[Next]:
    """Choose up to n rows of vectors `[N, D]` whose labels would help most, the most helpful first.

    labels: row -> class, of those that are labelled; it may be empty. strategy:

    - "auto": typical of many images while nothing is labelled; then typical of many that the labels leave in doubt.
    - "typical": typical of many images that are unlike the labelled ones.
    - "margin": the first two classes are about equally likely.
    - "density": the same, weighted by how many images are alike.
    - "disagreement": two classifiers say different classes.
    - "errors": rows whose label the other labels contradict, to be looked at again.

    No row is chosen that is a copy of a labelled or chosen one. Of more than 5,000 rows without a label, 5,000 are
    looked at, drawn by `seed`. The same arguments give the same rows.

    Raises ArgumentError for another strategy, n below 1, vectors without a direction, or a row that is not there, and
    LabelError where the strategy needs labels of two classes and there are none.
    """
    check_request(n, strategy)
    if vectors.ndim != 2 or len(bad := without_direction(vectors)):
        what = f"shape {vectors.shape}" if vectors.ndim != 2 else f"row {bad[0]} is zero or not finite"
        raise ArgumentError(f"vectors: {what}; they have to be [N, D], each with a direction")
    if wrong := [row for row in labels if not 0 <= row < len(vectors)]:
        raise ArgumentError(f"a label for row {wrong[0]}; there are rows 0 to {len(vectors) - 1}")
    rows, labelled = looked_at(len(vectors), labels, seed), np.fromiter(labels, dtype=np.int64, count=len(labels))
    names, without = list(labels.values()), len(vectors) - len(labels)
    pool = Pool(rows, unit_rows(vectors[rows]), labelled, unit_rows(vectors[labelled]), names, without, seed)
    return next_of(pool, n, strategy)


def check_request(n: int, strategy: str) -> None:
    """Raises ArgumentError for another strategy, and for n below 1."""
    if strategy not in get_args(Strategy):
        raise ArgumentError(f"no strategy {strategy!r}; there are {', '.join(get_args(Strategy))}")
    if n < 1:
        raise ArgumentError(f"n={n}: give the number of images to label next, 1 or more")


def next_of(pool: Pool, n: int, strategy: str, collection: Collection | None = None) -> list[Next]:
    """The rows of a pool to label next; see `label_next`. Copies are told by the images of a collection too."""
    if strategy == "errors":
        return _likely_errors(pool, n)
    if len(set(pool.names)) < 2 and strategy not in NO_CLASSES:
        raise LabelError(f"strategy {strategy!r} needs labels of two classes; {' and '.join(NO_CLASSES)} need none")
    if not len(pool.rows):
        return []
    places = _choose(pool, strategy, n, Copies(pool.vectors, collection))
    counts = pool.stand_for(places)
    return [
        Next(int(pool.rows[place]), _reason(pool, place, count, strategy))
        for place, count in zip(places, counts, strict=True)
    ]


def _choose(pool: Pool, strategy: str, n: int, copies: Copies) -> list[int]:
    """Up to n places in the pool, none a copy of another or of a labelled image."""
    chosen: list[int] = []
    for cover, places in _covers(pool, strategy, n):
        while len(chosen) < n and (at := cover.best()) is not None:
            place = int(places[at])
            row, vector = int(pool.rows[place]), pool.vectors[place]
            if copies.has(row, vector, pool.labelled, pool.labelled_vectors) or copies.has(
                row, vector, pool.rows[chosen], pool.vectors[chosen]
            ):
                cover.drop(at)
            else:
                chosen.append(place)
                cover.take(at)
        if len(chosen) == n:
            break
    return chosen


def _covers(pool: Pool, strategy: str, n: int) -> Iterator[tuple[Cover, npt.NDArray[np.int64]]]:
    """What to choose from, one after the other, and the places of its images in the pool."""
    score = _score(pool, strategy)
    if strategy in NO_CLASSES:
        yield Cover(pool.similarity, score, pool.covered), np.arange(len(pool.rows))
        return
    order = np.argsort(-score, kind="stable")
    for at in range(0, len(order), OF_EACH * n):
        places = order[at : at + OF_EACH * n]
        yield Cover(pool.similarity[np.ix_(places, places)], score[places]), places


def _score(pool: Pool, strategy: str) -> npt.NDArray[np.floating]:
    """How much each image of the pool counts, `[R]`."""
    doubt = pool.doubt
    if doubt is None or strategy == "typical":
        return np.ones(len(pool.rows))
    if strategy == "disagreement":
        return doubt.disagreement()
    return doubt.small_lead() * (pool.similarity.mean(axis=1) if strategy == "density" else 1)


def _reason(pool: Pool, place: int, count: int, strategy: str) -> str:
    about = "" if pool.without == len(pool.rows) else "about "
    stands_for = f"stands for {about}{count:,} images" if count > 1 else "unlike the others"
    doubt: Doubt | None = pool.doubt
    if doubt is None or strategy == "typical":
        return stands_for
    said = doubt.both(place) if strategy == "disagreement" else doubt.leading(place)
    return said if strategy in ("margin", "disagreement") else f"{said}; {stands_for}"


def _likely_errors(pool: Pool, n: int) -> list[Next]:
    from cpchub.fewlabels.label_errors import doubted_labels  # here, because its classifier needs torch

    names = pool.names
    if not names:
        raise LabelError(f"no labels to look at again; {' and '.join(NO_CLASSES)} need none")
    found, worst, suggested, probability = doubted_labels(pool.labelled_vectors, names)
    again = list(zip(worst, suggested, probability, strict=True))[:n]
    return [
        Next(
            int(pool.labelled[at]),
            f"{names[at]}? The other labels give it {100 * p:.0f} %, and say {found.classes[to]}",
        )
        for at, to, p in again
    ]
