"""Images to vectors, shard by shard: reading and decoding, preparing, and the network at the same time.

Threads read ahead of the network, never more than a few batches. Batches end with their shard, so that a shard comes
out the same whoever makes it and whenever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from cpchub.collection.items import Row
from cpchub.common.hashing import bytes_sha256
from cpchub.embedding.options import EmbedOptions
from cpchub.encoders.protocols import Embedder, ImageEncoder, Vectors
from cpchub.errors import BrokenImageError, CollectionError
from cpchub.media.damage import TOO_LITTLE_MEMORY
from cpchub.media.decode import decode_bytes, resize_side
from cpchub.media.sources.base import ListedImage, Source


class PlainEmbedder:
    """Any `ImageEncoder`, by its `encode`."""

    lanes = 1

    def __init__(self, encoder: ImageEncoder) -> None:
        self._encoder = encoder

    def defer(self, data: bytes, size: int) -> None:
        """It has no decoder of its own."""

    def prepare(self, image: Image.Image) -> Image.Image:
        return image

    def choose(self, first: Sequence[Any]) -> None:
        """It has one way."""

    def encode(self, prepared: Sequence[Any]) -> Vectors:
        return self._encoder.encode(list(prepared), batch_size=len(prepared), normalize=True)

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(frozen=True)
class Shard:
    """Some images of a job and their number among the job's shards."""

    number: int
    images: Sequence[ListedImage]


@dataclass(frozen=True)
class Outcome:
    """An image that was read: what is known about it, and what the network takes, or the reason there is none."""

    row: Row
    prepared: Any = None


@dataclass
class _OpenShard:
    """A shard on its way. rows: outcomes so far; batch: position in the shard -> prepared image, not yet encoded."""

    number: int
    vectors: Vectors
    rows: list[Row] = field(default_factory=list)
    batch: dict[int, Any] = field(default_factory=dict)


class ShardEncoder:
    """Embeds shards of images of a source, in a `with` block. D = dim is the length of the vectors."""

    def __init__(
        self,
        source: Source,
        encoder: ImageEncoder,
        options: EmbedOptions,
        images: int,
        first: Sequence[ListedImage] = (),
    ) -> None:
        """images: how many the whole job has, which decides what preparation pays for itself.

        first: the first images of the whole job. By these the encoder chooses its way through the network, so that
        all processes of a job choose the same, whichever shards they are given.
        """
        embedder = getattr(encoder, "embedder", None)
        self.embedder: Embedder = embedder(images) if embedder else PlainEmbedder(encoder)
        self.source, self.dim = source, encoder.spec.dim
        self.batch_size, self.workers = options.batch_size, options.workers
        self.size = resize_side(encoder.spec.input_size, encoder.spec.crop_pct)
        self.may_defer = options.decode == "auto"
        self._first = first
        self._already_read: dict[str, Outcome] = {}  # of the first images, by path

    def __enter__(self) -> ShardEncoder:
        return self

    def __exit__(self, *error: object) -> None:
        self.embedder.close()

    def run(
        self, shards: Iterable[Shard], advance: Callable[[int], object] = lambda images: None
    ) -> Generator[tuple[int, list[Row], Vectors], None, None]:
        """Number, rows (`pending.outcome_schema` without the vector) and vectors `[n, D]` of each shard, in order.

        advance: called with numbers of images that are done, embedded or found to be broken.
        """
        self._choose()
        begun: deque[Shard] = deque()

        def images() -> Iterator[ListedImage]:
            for shard in shards:
                begun.append(shard)
                yield from shard.images

        lanes = self.embedder.lanes
        outcomes = _read_ahead(images(), self._read, self.workers, ahead=(lanes + 1) * self.batch_size + self.workers)
        network = _Lanes(lanes, self._encode, advance)
        try:
            for outcome in outcomes:
                shard = begun[0]
                if not network.open:
                    network.open = _OpenShard(shard.number, np.zeros((len(shard.images), self.dim), np.float32))
                current = network.open
                if outcome.prepared is not None:
                    current.batch[len(current.rows)] = outcome.prepared
                else:
                    advance(1)
                current.rows.append(outcome.row)
                whole = len(current.rows) == len(shard.images)
                if len(current.batch) == self.batch_size or (whole and current.batch):
                    network.submit(current)
                if whole:
                    begun.popleft()
                    network.close()
                yield from network.complete()
            yield from network.complete(all_of_them=True)
        finally:
            network.shutdown()
            outcomes.close()

    def read(self, images: Sequence[ListedImage]) -> list[Outcome]:
        """The images, read and prepared for the network, in order; another process may run them through it."""
        return list(_read_ahead(images, self._read, self.workers, ahead=len(images)))

    def _choose(self) -> None:
        """Let the encoder choose by the first images of the job; where none can be read, its first batch decides."""
        first, self._first = self._first, ()
        outcomes = self.read(first)
        self._already_read = {image.path: outcome for image, outcome in zip(first, outcomes, strict=True)}
        if prepared := [outcome.prepared for outcome in outcomes if outcome.prepared is not None]:
            self.embedder.choose(prepared)

    def _read(self, image: ListedImage | Outcome) -> Outcome:
        if isinstance(image, Outcome):  # another process has read it
            return image
        if outcome := self._already_read.pop(image.path, None):
            return outcome
        row: Row = {"path": image.path, "size": image.size, "mtime_ns": image.mtime_ns, "etag": image.etag}
        row |= {"sha256": None, "width": None, "height": None, "reason": None}
        try:
            data = self.source.read(image)
            row |= {
                "sha256": bytes_sha256(data),
                "size": len(data) if image.size is None else image.size,
            }
            deferred = self.embedder.defer(data, self.size) if self.may_defer else None
            if deferred is not None:
                return Outcome(row | {"width": deferred.width, "height": deferred.height}, deferred)
            decoded = decode_bytes(data, size=self.size)
            row |= {"width": decoded.width, "height": decoded.height}
            return Outcome(row, self.embedder.prepare(decoded.image))
        except BrokenImageError as error:
            return Outcome(row | {"reason": str(error)})
        except MemoryError:  # of a file that is read, or an image that is prepared
            return Outcome(row | {"reason": TOO_LITTLE_MEMORY})

    def _encode(self, prepared: Sequence[Any]) -> Vectors:
        vectors = self.embedder.encode(prepared)
        if vectors.shape != (len(prepared), self.dim):
            raise CollectionError(
                f"the encoder gave vectors of shape {vectors.shape} for {len(prepared)} images, "
                f"its spec says {self.dim} dimensions; export it again"
            )
        return vectors


class _Lanes:
    """Batches on their way through the network, at most one a lane and one that waits, and the shards they are of."""

    def __init__(
        self, lanes: int, encode: Callable[[Sequence[Any]], Vectors], advance: Callable[[int], object]
    ) -> None:
        self._lanes, self._encode, self._advance = lanes, encode, advance
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="network") if lanes > 1 else None
        self._running: deque[tuple[_OpenShard, list[int], Future[Vectors]]] = deque()
        self._closed: deque[_OpenShard] = deque()
        self.open: _OpenShard | None = None

    def submit(self, shard: _OpenShard) -> None:
        """Send the shard's batch on its way and empty it."""
        positions, prepared = list(shard.batch), list(shard.batch.values())
        shard.batch.clear()
        if self._pool:
            future = self._pool.submit(self._encode, prepared)
        else:
            future = Future()
            future.set_result(self._encode(prepared))
        self._running.append((shard, positions, future))

    def close(self) -> None:
        """The open shard has all of its images."""
        if self.open:
            self._closed.append(self.open)
        self.open = None

    def complete(self, *, all_of_them: bool = False) -> Iterator[tuple[int, list[Row], Vectors]]:
        """Wait until a lane is about to be free; the shards that are complete by then."""
        while self._running and (all_of_them or len(self._running) > self._lanes or self._running[0][2].done()):
            shard, positions, future = self._running.popleft()
            for position, vector in zip(positions, future.result(), strict=True):
                if not np.isfinite(vector).all():
                    shard.rows[position]["reason"] = "the encoder gives values that are not finite for it"
                elif not vector.any():
                    shard.rows[position]["reason"] = "the encoder gives nothing but zeros for it"
                else:
                    shard.vectors[position] = vector
            self._advance(len(positions))
        while self._closed and not any(shard is self._closed[0] for shard, _, _ in self._running):
            done = self._closed.popleft()
            yield done.number, done.rows, done.vectors

    def shutdown(self) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)


def _read_ahead(
    images: Iterable[ListedImage | Outcome],
    read: Callable[[ListedImage | Outcome], Outcome],
    workers: int,
    ahead: int,
) -> Generator[Outcome, None, None]:
    """Outcomes in order, read by threads that stay at most `ahead` images in front of the network."""
    waiting: deque[Future[Outcome]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-images")
    try:
        for image in images:
            waiting.append(pool.submit(read, image))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
