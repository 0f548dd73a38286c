"""Search a collection for the images most like a query.

The vectors have unit length, so the inner product is the cosine: 1 for the same image, around 0 for unrelated ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import INDEX, read_manifest
from cpchub.collection.mapped_items import FOLDER
from cpchub.common.columns import Texts, taken
from cpchub.encoders.protocols import ImageEncoder
from cpchub.errors import CollectionError, QueryError
from cpchub.index import build as building
from cpchub.index.engine.calibrate import recall_by_depth
from cpchub.index.engine.exact import OnDevice
from cpchub.index.engine.ground_truth import GroundTruth
from cpchub.index.engine.mapped import Vectors
from cpchub.index.engine.two_stages import TwoStages
from cpchub.index.query import Item, Query, Subject, Weighted, encode_images, is_vector, unit, weighted
from cpchub.index.setting import Choice, IndexRequest, Setting
from cpchub.index.where import Where
from cpchub.media.decode import ImageSource


@dataclass(frozen=True)
class Hit:
    """An image that was found. score: the cosine to the query. label: None if the collection has none for the image."""

    row: int
    id: int
    path: str
    score: float
    label: str | None = None


class Index:
    """The search index of a collection: N vectors of dimension D, in the order of the collection's rows.

    setting: the kind of index, the reason for it, and the measured recall.
    """

    def __init__(
        self,
        collection: Collection,
        store: TwoStages,
        setting: Setting,
        encoder: ImageEncoder | None = None,
        device: str | None = None,
    ) -> None:
        if encoder is not None:
            collection.check_encoder(encoder.spec)
        self.collection = collection
        self.setting = setting
        self.encoder = encoder
        self._store = store
        self._on_device = None if device is None else OnDevice(store.vectors, device)

    @classmethod
    def build(
        cls,
        collection: Collection,
        encoder: ImageEncoder | None = None,
        *,
        kind: Choice = "auto",
        recall: float = 0.95,
        memory: int | None = None,
        store: str | None = None,
    ) -> Index:
        """Build the index of a collection: a plain FAISS file in its folder, or in Milvus.

        kind: "auto" is an exact index if a search takes a few milliseconds with it, else a compressed one. recall: the
        recall@10 to reach; it is measured now and after each `update`. memory: most bytes that the index may take.
        store: "faiss", "milvus:photos.db" (Milvus Lite) or "milvus:http://host:19530"; None for the one that the
        collection has. The collection remembers it.

        Raises DependencyError without FAISS or the client of Milvus, StoreError if Milvus cannot be used,
        CollectionError if the collection was updated since it was opened, ArgumentError if no index reaches the recall
        within the memory, NoSpaceError or OutputError if the index cannot be written.
        """
        return cls(collection, *building.build(collection, IndexRequest(kind, recall, memory), store), encoder)

    @classmethod
    def update(
        cls,
        collection: Collection,
        encoder: ImageEncoder | None = None,
        *,
        kind: Choice | None = None,
        recall: float | None = None,
        memory: int | None = None,
        store: str | None = None,
    ) -> Index:
        """Bring the index up to date with a changed collection; build it if there is none.

        New images are added and removed images are dropped, without training again. Recall is measured again. The index
        is rebuilt if it no longer reaches the recall, or if many of its vectors belong to removed images. An argument
        that is None keeps the value of the last build. Raises as `build` does.
        """
        return cls(collection, *building.update(collection, kind, recall, memory, store), encoder)

    @classmethod
    def open(cls, folder: str | Path, encoder: ImageEncoder | None = None, *, device: str | None = None) -> Index:
        """Open the index of the collection in a folder, or at a URL of a bucket, of which a copy is kept here.

        encoder: embeds the images of queries. device: "cuda" puts all vectors on a GPU and searches exactly
        there; a search with a filter (`where`) still uses the CPU.

        Raises CollectionError if there is no index, if the collection has changed since it was built, if a newer
        version built it, or if its file was exchanged or damaged; EncoderMismatchError if another encoder embedded the
        collection; DependencyError without FAISS or the client of Milvus; StoreError if Milvus or the bucket cannot
        be used.
        """
        collection = Collection.open(folder)
        if encoder is not None:
            collection.check_encoder(encoder.spec)  # also in `__init__`, but here before a large file is read
        setting = Setting.from_manifest(collection.manifest.get("search"), collection.place)
        if setting is None or not setting.is_of(collection.manifest):
            raise CollectionError(
                f"{collection.place} has no index for the images it holds now; build it again: {collection.index_again}"
            )
        try:
            collection.fetch(INDEX, f"{FOLDER}/")
            store = building.open_store(collection, setting)
        except CollectionError:
            if read_manifest(collection.folder) == collection.manifest:
                raise
            return cls.open(folder, encoder, device=device)  # another process updated the collection meanwhile
        return cls(collection, store, setting, encoder, device)

    def __len__(self) -> int:
        return len(self.collection)

    def __repr__(self) -> str:
        return f"Index({self.collection.place!r}, {len(self)} images, {self.setting.kind})"

    @property
    def vectors(self) -> Vectors:
        """All vectors, `[N, D]` float32 or float16 of unit length, mapped from disk; in memory where it is new."""
        return self._store.vectors

    @cached_property
    def items(self) -> pa.Table:
        """One row per image, as `Collection.items`, mapped from disk."""
        return self.collection.mapped_items

    @cached_property
    def paths(self) -> Texts:
        """The path of each row, as `Collection.paths`, mapped from disk."""
        return Texts(self.items["path"])

    def search(
        self,
        query: Query,
        k: int = 5,
        encoder: ImageEncoder | None = None,
        *,
        plus: Sequence[Weighted] = (),
        minus: Sequence[Weighted] = (),
        where: str | None = None,
    ) -> list[Hit]:
        """The k images most like the query, best first.

        query: an image (path, bytes, PIL image, uint8 array), `Item(id)` of the collection, a vector `[D]`, or a list
        of these, which searches with their mean. plus, minus: images, items or vectors to add to the query and to
        subtract from it, each alone (weight 1) or as (what, weight). where: a condition on the columns, as in
        `cpchub.index.where`; where fewer than k images fit it, those are found. encoder: embeds the images of the
        query; default: the index's own.

        Raises QueryError (no encoder, a filter with an error, k below 1 or above the number of images),
        BrokenImageError, EncoderMismatchError.
        """
        parts = weighted(query, plus, minus)
        vectors = self.vectors_of([subject for subject, _ in parts], encoder)
        weights = np.array([weight for _, weight in parts], dtype=np.float32)
        return self._hits(weights @ vectors, k, where)[0]

    def search_each(
        self, queries: Sequence[Subject], k: int = 5, encoder: ImageEncoder | None = None, *, where: str | None = None
    ) -> list[list[Hit]]:
        """The k images most like each of several queries, searched as a batch; raises as `search` does."""
        return self._hits(self.vectors_of(queries, encoder), k, where)

    def search_row(self, row: int, k: int = 5, *, itself: bool = True, where: str | None = None) -> list[Hit]:
        """The k images most like the image in a row, best first; `itself=False` leaves that image out.

        Raises QueryError if there is no such row, for a filter with an error, and for k below 1 or above the number of
        images. Where fewer images fit the filter, those are found.
        """
        vector = self.vectors[self.collection.check_row(row)]
        if itself:
            return self._hits(vector, k, where)[0]
        self._check_k(k, len(self) - 1)
        # One hit more, as the image itself is usually among them. It need not be: equal images have equal scores.
        hits = self._hits(vector, k + 1, where)[0]
        return [hit for hit in hits if hit.row != row][:k]

    def search_vectors(
        self, q: Any, k: int = 5, *, where: str | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The k nearest images of each query vector: cosines `[Q, k]` float32 and rows `[Q, k]` int64, best first.

        q: `[Q, D]` (or `[D]`), from the same encoder, of any length: it is scaled to unit length here. Where fewer than
        k images fit the filter, there are so many columns; where none does, `[Q, 0]`.

        Raises QueryError for another D, for a vector that is zero or not finite, for a filter with an error, and for k
        below 1 or above the number of images.
        """
        condition = None if where is None else Where(self.items, where)
        self._check_k(k, len(self))
        q = unit(q, self.collection.dim)
        if self._on_device is not None and condition is None:
            return self._on_device.search(q, k)
        return self._store.search(q, k, condition)

    def vectors_of(self, subjects: Sequence[Subject], encoder: ImageEncoder | None = None) -> npt.NDArray[np.float32]:
        """The unit vectors `[n, D]` of images, items and vectors, in the same order; raises as `search` does."""
        vectors = np.empty((len(subjects), self.collection.dim), np.float32)
        images: dict[int, ImageSource] = {}  # by position; embedded below as one batch
        for position, subject in enumerate(subjects):
            if isinstance(subject, Item):
                vectors[position] = self.vectors[self.row_of(subject.id)]
            elif is_vector(subject):
                vectors[position] = unit(subject, self.collection.dim)
            else:
                images[position] = subject
        if images:
            vectors[list(images)] = encode_images(list(images.values()), self._encoder(encoder))
        return vectors

    def row_of(self, item_id: int) -> int:
        """The row of the image with this id. Raises QueryError if there is none."""
        row = int(np.searchsorted(self._store.ids, item_id))  # ids are ascending
        if row == len(self) or self._store.ids[row] != item_id:
            raise QueryError(f"no image with id {item_id} in {self.collection.place}")
        return row

    def measure_recall(self) -> float:
        """Measure recall@10 again, on held-out queries that took no part in choosing the setting. 1 for an exact index.

        Raises CollectionError if the file with these queries is missing or damaged.
        """
        if self.setting.exact or self.setting.depth is None:
            return 1.0
        truth = GroundTruth.load(self.collection.folder)
        odd = np.arange(len(truth.own))[1::2]  # the even queries chose the setting, see `calibrate`
        recalls = recall_by_depth(self._store, truth, odd, self.setting.depth, self.setting.effort)
        return float(recalls[:, -1].mean())

    def _encoder(self, encoder: ImageEncoder | None) -> ImageEncoder:
        encoder = encoder or self.encoder
        if encoder is None:
            name = self.collection.encoder_name
            raise QueryError(
                f"to search for an image, pass the encoder of the collection: encoder=cpchub.load({name!r})"
            )
        self.collection.check_encoder(encoder.spec)
        return encoder

    def _hits(self, q: Any, k: int, where: str | None) -> list[list[Hit]]:
        """The hits of each query vector: k, or as many as fit the filter."""
        scores, rows = self.search_vectors(q, k, where=where)
        items = taken(self.items.select(["id", "path", "label"]), rows.reshape(-1)).to_pylist()
        hits = [
            Hit(row, score=score, **item)
            for row, score, item in zip(rows.reshape(-1).tolist(), scores.reshape(-1).tolist(), items, strict=True)
        ]
        found = rows.shape[1]
        return [hits[query * found : (query + 1) * found] for query in range(len(rows))]

    def _check_k(self, k: int, candidates: int) -> None:
        """Raise QueryError if k is not from 1 to `candidates`, the number of images that may be hits."""
        if candidates == 0:
            raise QueryError("there is no other image to find")
        if not 1 <= k <= candidates:
            raise QueryError(f"k={k}: the collection has {len(self)} images, so k must be 1 to {candidates}")
