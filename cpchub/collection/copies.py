"""Whether images of a collection are copies of each other: near for the encoder, and the same as whole images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from cpchub.collection.collection import Collection
from cpchub.common.progress import Report
from cpchub.errors import CpchubError
from cpchub.media.decode import read_image
from cpchub.media.whole import MOST_DIFFERENT, SIDE, Small, differences, same_aspect, small_copy

# Of the distance of any two images, which most copies stay below: set on photos with the bundled encoders, of which
# `benchmarks/duplicates.py` measures precision and recall.
COPY = 0.2
COPY_IF_CONFIRMED = 0.3  # the same, where pairs are compared as whole images as well: of an untrained network too
IDENTICAL = 1 - 1e-6  # the highest threshold: rounding keeps equal vectors a little apart
SAMPLE, SMALL_SAMPLE = 1000, 48  # images, of which all pairs tell the usual distance; the second, if they are read
PHOTOS = 0.29  # the usual distance of two photos for an untrained network, the least that was measured

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


def usual_distance(
    vectors: Any, contents: Rows, small: Callable[[list[int]], dict[int, Small]] | None = None
) -> float | None:
    """The median Euclidean distance of two images that are not the same; None where no two are different.

    vectors: `[N, D]` of unit length. contents: a number for each, the same for the same bytes. small: gives images by
    their rows for `cpchub.media.whole`, which tells copies; without it, and for what cannot be read, two of different
    bytes are taken for different images.
    """
    rows = np.unique(contents, return_index=True)[1]
    count = min(len(rows), SAMPLE if small is None else SMALL_SAMPLE)
    rows = np.sort(rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)])
    some = np.asarray(vectors[rows], dtype=np.float32)
    different = np.triu(np.ones((count, count), np.bool_), 1)
    images = {} if small is None else small(rows.tolist())
    known = [place for place, row in enumerate(rows.tolist()) if row in images]
    if known:
        all_known = np.stack([images[int(rows[place])] for place in known])
        for place, image in zip(known, all_known, strict=True):
            different[place, known] &= differences(image, all_known) > MOST_DIFFERENT
    if not different.any():
        return None
    cosines = (some @ some.T)[different].astype(np.float64)
    return float(np.median(np.sqrt(np.maximum(2 - 2 * cosines, 0))))


def cosine_at(distance: float) -> float:
    """The cosine of two unit vectors at a distance, at most IDENTICAL."""
    return min(1 - distance**2 / 2, IDENTICAL)


def distance_at(cosine: float) -> float:
    """The distance of two unit vectors with a cosine."""
    return math.sqrt(2 - 2 * cosine)


def small_copies(
    collection: Collection,
    rows: Sequence[int],
    *,
    progress: bool = True,
    tell: Callable[[float], None] | None = None,
) -> dict[int, Small]:
    """The images of some rows as `cpchub.media.whole` compares them, without those that cannot be read.

    tell: called after each image with the share that is done; what it raises ends the reading.
    """

    def read(row: int) -> Small | None:
        try:
            return small_copy(read_image(collection.image(row), size=SIDE))
        except CpchubError:  # missing, unreachable or damaged
            return None

    found: dict[int, Small] = {}
    with (
        Report("Comparing whole images", len(rows), console=Console(stderr=True, quiet=not progress)) as report,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="read-images") as pool,
    ):
        for done, (row, small) in enumerate(zip(rows, pool.map(read, rows), strict=True), start=1):
            if small is not None:
                found[row] = small
            report.advance()
            if tell is not None:
                tell(done / len(rows))
    return found


class Copies:
    """Tells whether one image is a copy of some others, for a few images; `cpchub duplicates` groups all of them.

    vectors: `[N, D]` of unit length, of images that show how far apart two usually are. collection: where the images
    are read from; without it the vectors decide alone.

    Two images are copies where they are nearer than COPY_IF_CONFIRMED times the usual distance and are the same as
    whole images. Where one of them cannot be read, they have to be nearer than COPY times the usual distance.
    """

    def __init__(self, vectors: Vectors, collection: Collection | None = None) -> None:
        usual = usual_distance(vectors, np.arange(len(vectors))) or PHOTOS
        self.collection = collection
        self.near, self.alone = cosine_at(COPY_IF_CONFIRMED * usual), cosine_at(COPY * usual)
        self._small: dict[int, Small | None] = {}

    def has(self, row: int, vector: Vectors, others: Rows, vectors: Vectors) -> bool:
        """Whether an image is a copy of one of others, by their rows in the collection `[M]` and vectors `[M, D]`."""
        cosines = vectors @ vector
        near = np.flatnonzero(cosines >= (self.alone if self.collection is None else self.near))
        return any(
            self._same(self.collection, row, int(others[place]), float(cosines[place]))
            for place in near[np.argsort(-cosines[near], kind="stable")]
        )

    def _same(self, collection: Collection | None, row: int, other: int, cosine: float) -> bool:
        if collection is None:
            return True
        wanted = [each for each in (row, other) if each not in self._small]
        self._small |= dict.fromkeys(wanted) | small_copies(collection, wanted, progress=False)
        one, two = self._small[row], self._small[other]
        if one is None or two is None:
            return cosine >= self.alone
        sides = collection.items.select(["width", "height"]).take([row, other]).to_pylist()
        shapes = np.array([[side["width"] or np.nan, side["height"] or np.nan] for side in sides], dtype=np.float64)
        return bool(same_aspect(shapes[:1], shapes[1:])[0] and differences(one[None], two[None])[0] <= MOST_DIFFERENT)
