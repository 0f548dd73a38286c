"""One collection and its encoder, as all visitors share them: vectors of images, neighbours, facts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpchub.common.words import counted
from cpchub.encoders.protocols import ImageEncoder
from cpchub.errors import BrokenImageError, QueryError
from cpchub.index import Index
from cpchub.media.decode import read_image, resize_side

RANDOM_PAIRS = 1000


@dataclass(frozen=True)
class Neighbour:
    """An image of the collection and its cosine similarity to the query."""

    row: int
    path: str
    score: float


@dataclass(frozen=True)
class Answer:
    """Neighbours, best first, and the milliseconds that the search took."""

    neighbours: list[Neighbour]
    search_ms: float


class Finder:
    """Searches one collection with the encoder that embedded it; shared by all visitors."""

    def __init__(self, index: Index, encoder: ImageEncoder) -> None:
        index.collection.check_encoder(encoder.spec)
        self.index = index
        self.encoder = encoder
        self.features = index.vectors  # mapped, as the paths are
        self.paths = index.paths
        self._encoding = Lock()

    @property
    def count(self) -> int:
        return len(self.paths)

    @property
    def encoder_name(self) -> str:
        return self.encoder.spec.name

    @property
    def dim(self) -> int:
        return self.index.collection.dim

    @property
    def how(self) -> str:
        """How the index searches, for visitors, with the recall that was measured when it was built."""
        setting = self.index.collection.manifest["search"]
        if setting["exact"]:
            return f"Compared with all {counted(self.count, 'image')}"
        return f"Searched {counted(self.count, 'image')}; about {setting['recall']:.0%} of the nearest are found"

    @cached_property
    def typical_score(self) -> float:
        """The median cosine of two images of the collection drawn at random (from 1,000 pairs, always the same)."""
        if self.count < 2:
            return 0.0
        first, step = np.random.default_rng(0).integers([[0], [1]], [[self.count], [self.count]], (2, RANDOM_PAIRS))
        left, right = (np.asarray(self.features[rows], np.float32) for rows in (first, (first + step) % self.count))
        return float(np.median(np.einsum("nd,nd->n", left, right)))

    def facts(self, row: int) -> dict[str, Any]:
        """What the collection knows of image `row`: path, width, height, label and the other columns of `items`."""
        facts: dict[str, Any] = self.index.items.slice(row, 1).to_pylist()[0]
        return facts

    def vector_of(self, data: bytes) -> NDArray[np.float32]:
        """The unit vector `[D]` of an encoded image. Raises BrokenImageError if it cannot be read.

        One image is encoded at a time: visitors share the encoder.
        """
        spec = self.encoder.spec
        # Read as `embed` reads, so that an image of the collection finds itself at 1; from bytes, so that an error
        # shown to a visitor does not name a path of this machine.
        image = read_image(data, size=resize_side(spec.input_size, spec.crop_pct))
        with self._encoding:
            vector: NDArray[np.float32] = self.encoder.encode([image], normalize=True)[0]
        if not np.isfinite(vector).all():
            raise BrokenImageError("the encoder gives values that are not finite for this image")
        return vector

    def nearest(self, vector: NDArray[np.float32], k: int) -> Answer:
        """The `k` images nearest to a vector `[D]`."""
        return Answer(*self._search(vector[None], min(k, self.count)))

    def by_row(self, row: int, k: int) -> Answer:
        """The `k` images nearest to image `row`, without itself. Raises QueryError for a row that is not there."""
        if not 0 <= row < self.count:  # not the collection's own check, whose words name its folder on this machine
            raise QueryError(f"There is no row {row}; the collection has {self.count} images, from row 0 on.")
        if k < 1:
            raise QueryError(f"k={k}: at least one neighbour has to be asked for.")
        found, search_ms = self._search(self.features[row : row + 1], min(k + 1, self.count))
        others = [neighbour for neighbour in found if neighbour.row != row]
        return Answer(others[:k], search_ms)

    def _search(self, vector: NDArray[np.float32], k: int) -> tuple[list[Neighbour], float]:
        started = time.perf_counter()
        scores, rows = self.index.search_vectors(vector, k)
        search_ms = 1000 * (time.perf_counter() - started)
        pairs = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return [Neighbour(row, self.paths[row], score) for row, score in pairs], search_ms
