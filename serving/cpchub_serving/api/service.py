"""What the API answers, without HTTP: images to vectors, neighbours and classes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from PIL import Image

from cpchub.encoders.protocols import ImageEncoder
from cpchub.errors import BrokenImageError, QueryError
from cpchub.index import Index
from cpchub.index.index import Hit
from cpchub.index.query import Item
from cpchub_serving.api import images
from cpchub_serving.api.batching import Batcher
from cpchub_serving.api.failures import Refused
from cpchub_serving.api.limits import Limits

if TYPE_CHECKING:
    from cpchub.fewlabels.heads.answers import Answers
    from cpchub.fewlabels.heads.head import Head

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Wanted:
    """Something to search with: encoded bytes of an image, an id or a path of the collection, or a vector; and how
    much it counts."""

    what: bytes | int | str | Sequence[float]
    weight: float = 1.0


@dataclass(frozen=True)
class Search:
    """Hits, best first, their columns where they were asked for, and milliseconds."""

    hits: list[Hit]
    columns: list[dict[str, Any]] | None
    encode_ms: float
    search_ms: float


class Service:
    """One encoder, a collection that it embedded, and classifiers on its vectors; both may be missing.

    Raises EncoderMismatchError where one of them is of another encoder.
    """

    def __init__(self, encoder: ImageEncoder, index: Index | None, heads: Mapping[str, Head], limits: Limits) -> None:
        if index is not None:
            index.collection.check_encoder(encoder.spec)
        for head in heads.values():
            head.check_encoder(encoder.spec)
        self.encoder = encoder
        self.index = index
        self.heads = dict(heads)
        self.limits = limits
        self.batcher = Batcher(lambda batch: encoder.encode(batch, normalize=True), limits)
        self._decoders = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="api-decode")
        self._searches = ThreadPoolExecutor(1, thread_name_prefix="api-search")

    async def stop(self) -> None:
        """Answer what was accepted, then end the threads."""
        await self.batcher.stop()
        self._decoders.shutdown()
        self._searches.shutdown()

    async def vectors(self, files: Sequence[bytes]) -> Vectors:
        """The unit vectors `[N, D]` of encoded images. Raises Refused and BrokenImageError, with the image's number."""
        most = self.limits.images
        if len(files) > most:
            raise Refused(413, f"{len(files):,} images, more than {most:,}; send them in several requests")
        self.batcher.check_room(len(files))  # before they are decoded
        loop = asyncio.get_running_loop()
        work = [loop.run_in_executor(self._decoders, self._read, data, i) for i, data in enumerate(files)]
        done = await asyncio.gather(*work, return_exceptions=True)  # all of them, so that none goes on unseen
        decoded = []
        for each in done:
            if isinstance(each, BaseException):
                raise each
            decoded.append(each)
        return await self.batcher.vectors(decoded)

    def _read(self, data: bytes, which: int) -> Image.Image:
        try:
            return images.read(data, which, self.encoder.spec, self.limits.pixels)
        except BrokenImageError as error:
            raise BrokenImageError(f"image {which}: {error}") from error

    async def search(self, wanted: Sequence[Wanted], k: int, where: str | None, columns: bool) -> Search:
        """The `k` nearest images of the collection; raises Refused, QueryError, BrokenImageError."""
        index = self.index
        if index is None:
            raise Refused(404, "there is no collection to search; start the API with one: cpchub serve COLLECTION")
        if k > self.limits.neighbours:
            raise Refused(413, f"k={k}: at most {self.limits.neighbours:,} results are given")
        known = [self._of_collection(index, each.what) for each in wanted]
        started = time.perf_counter()
        files = [each.what for each in wanted if isinstance(each.what, bytes)]
        embedded = iter(await self.vectors(files) if files else ())
        parts = [next(embedded) if each is None else each for each in known]
        encode_ms = 1000 * (time.perf_counter() - started)

        def run() -> Search:
            begun = time.perf_counter()
            more = [(part, each.weight) for part, each in zip(parts[1:], wanted[1:], strict=True)]
            plus = [(part, weight) for part, weight in more if weight > 0]
            minus = [(part, -weight) for part, weight in more if weight < 0]
            hits = index.search(parts[0], min(k, len(index)), plus=plus, minus=minus, where=where)
            rows = [index.items.slice(hit.row, 1).to_pylist()[0] for hit in hits] if columns else None
            return Search(hits, rows, encode_ms, 1000 * (time.perf_counter() - begun))

        return await asyncio.get_running_loop().run_in_executor(self._searches, run)

    def _of_collection(self, index: Index, what: bytes | int | str | Sequence[float]) -> Item | Vectors | None:
        """What the index searches with; None for an image, which has no vector yet. Raises Refused, QueryError."""
        if isinstance(what, bytes):
            return None
        if isinstance(what, str):
            row = pc.index(index.items["path"], what).as_py()
            if row < 0:
                raise Refused(404, f"there is no image {what!r} in the collection; give a path as results give it")
            return Item(index.items["id"][row].as_py())
        if isinstance(what, int):
            try:
                index.row_of(what)
            except QueryError as error:  # its own words name the folder on this machine
                raise Refused(404, f"there is no image with id {what}") from error
            return Item(what)
        return _vector(what)

    async def classify(self, files: Sequence[bytes], head: Head) -> Answers:
        """What a classifier says of encoded images."""
        vectors = await self.vectors(files)
        return await asyncio.get_running_loop().run_in_executor(self._searches, head.answers, vectors)

    def head_called(self, name: str) -> tuple[str, Head]:
        """The classifier of that name; without one, the only one there is. Raises Refused."""
        if not self.heads:
            raise Refused(404, "there is no classifier; start the API with one: cpchub serve COLLECTION --head HEAD")
        if not name and len(self.heads) == 1:
            return next(iter(self.heads.items()))
        if name not in self.heads:
            raise Refused(404, f"there is no classifier {name!r}; there are {', '.join(self.heads)}")
        return name, self.heads[name]

    def check_model(self, name: str) -> None:
        """Raise Refused for another encoder than that of this API."""
        if name not in ("", self.encoder.spec.name):
            raise Refused(404, f"there is no model {name!r}; this API has {self.encoder.spec.name}")


def _vector(what: Sequence[float]) -> Vectors:
    with np.errstate(over="ignore"):
        vector = np.array(what, dtype=np.float32)
    if not np.isfinite(vector).all():
        raise QueryError("a query vector has numbers too large for float32")
    return vector
