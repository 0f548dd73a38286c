"""Search a collection.

The vectors are of unit length, so the inner product is the cosine: 1 for the same image, around 0 for unrelated ones.
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
from cpchub.collection.manifest import read_manifest
from cpchub.encoders.protocols import ImageEncoder
from cpchub.errors import CollectionError, QueryError
from cpchub.index import build as building
from cpchub.index.engine.calibrate import recall_by_depth
from cpchub.index.engine.exact import OnDevice
from cpchub.index.engine.ground_truth import GroundTruth
from cpchub.index.engine.mapped import Vectors, open_items
from cpchub.index.engine.two_stages import Engine
from cpchub.index.query import Item, Query, Subject, Weighted, encode_images, is_vector, unit, weighted
from cpchub.index.setting import Choice, IndexRequest, Setting
from cpchub.index.where import rows_where
from cpchub.media.decode import ImageSource


@dataclass(frozen=True)
class Hit:
    """An image that was found. score is the cosine to the query; label is None where there is none on record."""

    row: int
    id: int
    path: str
    score: float
    label: str | None = None


class Index:
    """The search index of a collection: N vectors of dimension D, rows as in the collection.

    setting: how it searches, why, and with what measured recall.
    """

    def __init__(
        self,
        collection: Collection,
        engine: Engine,
        setting: Setting,
        encoder: ImageEncoder | None = None,
        device: str | None = None,
    ) -> None:
        if encoder is not None:
            collection.check_encoder(encoder.spec)
        self.collection = collection
        self.setting = setting
        self.encoder = encoder
        self._engine = engine
        self._on_device = None if device is None else OnDevice(engine.vectors, device)

    @classmethod
    def build(
        cls,
        collection: Collection,
        encoder: ImageEncoder | None = None,
        *,
        kind: Choice = "auto",
        recall: float = 0.95,
        memory: int | None = None,
    ) -> Index:
        """Build the index of a collection and write it into its folder as a plain FAISS file.

        kind: "auto" is exact while that takes a few milliseconds, compressed beyond. recall: the recall@10 that is
        promised, measured now and after each `update`. memory: bytes that the compressed vectors may take.

        Raises DependencyError without FAISS, CollectionError where the collection was updated since it was opened,
        ArgumentError where recall and memory cannot both be had, NoSpaceError or OutputError where it is not written.
        """
        return cls(collection, *building.build(collection, IndexRequest(kind, recall, memory)), encoder)

    @classmethod
    def update(
        cls,
        collection: Collection,
        encoder: ImageEncoder | None = None,
        *,
        kind: Choice | None = None,
        recall: float | None = None,
        memory: int | None = None,
    ) -> Index:
        """Bring the index in step with a collection that changed; builds it where there is none.

        New images are added and removed ones forgotten without training again, and recall is measured again. Where
        it can no longer be kept, or much of the index is of removed images, the index is built anew. What is left
        out is as in the call that built the index. Raises as `build` does.
        """
        return cls(collection, *building.update(collection, kind, recall, memory), encoder)

    @classmethod
    def open(cls, folder: str | Path, encoder: ImageEncoder | None = None, *, device: str | None = None) -> Index:
        """Open the index of the collection in a folder.

        encoder: what images will be searched with. device: "cuda" puts all vectors on a GPU and searches exactly
        there.

        Raises CollectionError where there is no index, it is of an earlier state of the collection, from a newer
        version, or not the file that was built; EncoderMismatchError where another encoder embedded the collection;
        DependencyError without FAISS.
        """
        collection = Collection.open(folder)
        if encoder is not None:
            collection.check_encoder(encoder.spec)  # before a large file is read
        setting = Setting.from_manifest(collection.manifest.get("search"), collection.folder)
        if setting is None or (setting.count, setting.next_id) != (len(collection), collection.manifest["next_id"]):
            raise CollectionError(
                f"{collection.folder} has no index for the images it holds now; "
                f"build it again: cpchub index {collection.source} -o {collection.folder}"
            )
        try:
            index = building.read_faiss(collection, setting)
        except CollectionError:
            if read_manifest(collection.folder) == collection.manifest:
                raise
            return cls.open(folder, encoder, device=device)  # a writer has finished in between
        return cls(collection, building.open_engine(collection, setting, index), setting, encoder, device)

    def __len__(self) -> int:
        return len(self.collection)

    def __repr__(self) -> str:
        return f"Index({str(self.collection.folder)!r}, {len(self)} images, {self.setting.kind})"

    @property
    def vectors(self) -> Vectors:
        """All vectors, `[N, D]` float32 or float16 of unit length, row by row; not in memory but mapped, if many."""
        return self._engine.vectors

    @cached_property
    def items(self) -> pa.Table:
        """One row an image, as `Collection.items`; mapped, if many."""
        return self.collection.items if self.setting.exact else open_items(self.collection)

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
        of these, which searches with their mean. plus, minus: more of the same to add and take away, each alone or as
        (what, weight). where: a condition on the columns, as in `cpchub.index.where`. encoder: what to embed images
        with; the one that the index was opened with by default.

        Raises QueryError (no encoder, k below 1 or above what there is, a filter that is not understood),
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
        """The k images most like one of the collection, best first; `itself=False` leaves that one out.

        Raises QueryError for a row that is not there or k that is too large.
        """
        vector = self.vectors[self.collection.check_row(row)]
        if itself:
            return self._hits(vector, k, where)[0]
        mask = self._mask(where)
        mask = np.ones(len(self), np.bool_) if mask is None else mask
        most = int(mask.sum()) - int(mask[row])
        self._check_k(k, most)
        hits = self._hits(vector, min(k + 1, most + int(mask[row])), where)[0]
        return [hit for hit in hits if hit.row != row][:k]

    def search_vectors(
        self, q: Any, k: int = 5, *, where: str | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The k nearest of each query vector: cosines `[Q, k]` float32 and rows `[Q, k]` int64, best first.

        q: `[Q, D]` (or `[D]`), from the same encoder; brought to unit length here.

        Raises QueryError on another D, on vectors without direction, and on k below 1 or above N.
        """
        mask = self._mask(where)
        self._check_k(k, None if mask is None else int(mask.sum()))
        q = unit(q, self.collection.dim)
        if self._on_device is not None and mask is None:
            return self._on_device.search(q, k)
        return self._engine.search(q, k, mask)

    def vectors_of(self, subjects: Sequence[Subject], encoder: ImageEncoder | None = None) -> npt.NDArray[np.float32]:
        """Images, items and vectors as unit vectors `[n, D]`, in their order; raises as `search` does."""
        vectors = np.empty((len(subjects), self.collection.dim), np.float32)
        images: dict[int, ImageSource] = {}
        for place, subject in enumerate(subjects):
            if isinstance(subject, Item):
                vectors[place] = self.vectors[self.row_of(subject.id)]
            elif is_vector(subject):
                vectors[place] = unit(subject, self.collection.dim)
            else:
                images[place] = subject
        if images:
            vectors[list(images)] = encode_images(list(images.values()), self._encoder(encoder))
        return vectors

    def row_of(self, item_id: int) -> int:
        """The row of an image by its id. Raises QueryError for an id that is not there."""
        row = int(np.searchsorted(self._engine.ids, item_id))
        if row == len(self) or self._engine.ids[row] != item_id:
            raise QueryError(f"no image with id {item_id} in {self.collection.folder}")
        return row

    def measure_recall(self) -> float:
        """Recall@10 now, on the held-out queries that did not choose the setting; 1 for an exact index.

        Raises CollectionError where the file of those queries is missing or damaged.
        """
        if self.setting.exact or self.setting.depth is None:
            return 1.0
        truth = GroundTruth.load(self.collection.folder)
        which = np.arange(len(truth.own))[1::2]
        return float(recall_by_depth(self._engine, truth, which, self.setting.depth, self.setting.effort)[:, -1].mean())

    def _encoder(self, encoder: ImageEncoder | None) -> ImageEncoder:
        encoder = encoder or self.encoder
        if encoder is None:
            name = self.collection.encoder_name
            raise QueryError(f"an image needs the encoder of the collection: pass encoder=cpchub.load({name!r})")
        self.collection.check_encoder(encoder.spec)
        return encoder

    def _hits(self, q: Any, k: int, where: str | None) -> list[list[Hit]]:
        scores, rows = self.search_vectors(q, k, where=where)
        found = self.items.select(["id", "path", "label"]).take(rows.reshape(-1)).to_pylist()
        hits = [
            Hit(row, score=score, **item)
            for row, score, item in zip(rows.reshape(-1).tolist(), scores.reshape(-1).tolist(), found, strict=True)
        ]
        return [hits[start : start + k] for start in range(0, len(hits), k)]

    def _mask(self, where: str | None) -> npt.NDArray[np.bool_] | None:
        if where is None:
            return None
        mask = rows_where(self.items, where)
        if not mask.any():
            raise QueryError(f"none of the {len(self)} images fits the filter {where!r}")
        return mask

    def _check_k(self, k: int, most: int | None = None) -> None:
        if most == 0:
            raise QueryError("there is no other image to be found")
        if most is not None and not 1 <= k <= most:
            raise QueryError(f"k={k}: {most} of the {len(self)} images can be found, so k must be 1 to {most}")
        if not 1 <= k <= len(self):
            raise QueryError(f"k={k}: the collection has {len(self)} images, so k must be 1 to {len(self)}")
