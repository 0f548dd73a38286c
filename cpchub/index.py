"""Search a collection with FAISS.

The vectors are of unit length, so the inner product is the cosine: 1 for the same picture, around 0 for unrelated ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.collection import INDEX, MANIFEST, Collection, read_manifest
from cpchub.embed import ImageEncoder
from cpchub.errors import BrokenImageError, CollectionError, QueryError
from cpchub.faiss_check import import_faiss
from cpchub.files import only_writer, replacing, write_json
from cpchub.images.decode import ImageSource, read_image, resize_side


@dataclass(frozen=True)
class Hit:
    """A picture that was found. score is the cosine to the query; label is None where there is none on record."""

    row: int
    id: int
    path: str
    score: float
    label: str | None = None


class Index:
    """The search index of a collection: N vectors of dimension D, rows as in the collection."""

    def __init__(self, collection: Collection, faiss_index: Any, encoder: ImageEncoder | None = None) -> None:
        if encoder is not None:
            collection.check_encoder(encoder.spec)
        self.collection = collection
        self.encoder = encoder
        self._faiss = import_faiss()
        self._index = faiss_index

    @classmethod
    def build(cls, collection: Collection, encoder: ImageEncoder | None = None) -> Index:
        """Build the index of a collection and write it into its folder as a plain FAISS file.

        Raises DependencyError without FAISS, CollectionError where the collection was updated since it was opened,
        NoSpaceError or OutputError where it cannot be written.
        """
        faiss = import_faiss()
        index, setting = _choose(faiss, len(collection), collection.dim)
        with only_writer(collection.folder):
            if read_manifest(collection.folder)["generation"] != collection.manifest["generation"]:
                raise CollectionError(f"{collection.folder} was updated since it was opened; open it again")
            index.add(collection.vectors())
            with replacing(collection.folder / INDEX) as partial:
                faiss.write_index(index, str(partial))
            collection.manifest["search"] = setting
            write_json(collection.folder / MANIFEST, collection.manifest)
        return cls(collection, index, encoder)

    @classmethod
    def open(cls, folder: str | Path, encoder: ImageEncoder | None = None) -> Index:
        """Open the index of the collection in a folder; `encoder` is what pictures will be searched with.

        Raises CollectionError where there is no index or it is of an earlier state of the collection,
        EncoderMismatchError where another encoder embedded the collection, DependencyError without FAISS.
        """
        collection = Collection.open(folder)
        if encoder is not None:
            collection.check_encoder(encoder.spec)  # before a large file is read
        faiss = import_faiss()
        path = collection.folder / INDEX
        again = f"build it again: cpchub index {collection.source} -o {collection.folder}"
        if not collection.manifest["search"] or not path.exists():
            raise CollectionError(f"{collection.folder} has no index for the pictures it holds now; {again}")
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise CollectionError(f"{path} is damaged; {again}") from error
        if (index.ntotal, index.d) != (len(collection), collection.dim):
            raise CollectionError(
                f"{path} holds {index.ntotal} vectors of {index.d} dimensions, the collection {len(collection)} of "
                f"{collection.dim}; {again}"
            )
        return cls(collection, index, encoder)

    def __len__(self) -> int:
        return len(self.collection)

    def search(self, query: ImageSource, k: int = 5, encoder: ImageEncoder | None = None) -> list[Hit]:
        """The k pictures most like a picture (path, bytes, PIL image, uint8 array), best first.

        encoder: what to embed the query with; the one that the index was opened with by default.

        Raises QueryError (no encoder, k below 1 or above N), BrokenImageError, EncoderMismatchError.
        """
        encoder = encoder or self.encoder
        if encoder is None:
            name = self.collection.encoder_name
            raise QueryError(f"a picture needs the encoder of the collection: pass encoder=cpchub.load({name!r})")
        self.collection.check_encoder(encoder.spec)
        self._check_k(k)
        # read as `embed` reads, so that a picture of the collection gives its own vector again
        image = read_image(query, size=resize_side(encoder.spec.input_size, encoder.spec.crop_pct))
        vectors = encoder.encode([image], normalize=True)
        if not np.isfinite(vectors).all():
            raise BrokenImageError("the encoder gives values that are not finite for this picture")
        return self._hits(vectors, k)

    def search_row(self, row: int, k: int = 5, *, itself: bool = True) -> list[Hit]:
        """The k pictures most like one of the collection, best first; `itself=False` leaves that one out.

        Raises QueryError for a row that is not there or k that is too large.
        """
        vector = self.collection.vectors()[[self.collection.check_row(row)]]
        if itself:
            return self._hits(vector, k)
        self._check_k(k, len(self) - 1)
        return [hit for hit in self._hits(vector, k + 1) if hit.row != row][:k]

    def search_vectors(self, q: Any, k: int = 5) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The k nearest of each query vector: cosines `[Q, k]` float32 and rows `[Q, k]` int64, best first.

        q: `[Q, D]` (or `[D]`), from the same encoder; brought to unit length here.

        Raises QueryError on another D, on vectors without direction, and on k below 1 or above N.
        """
        self._check_k(k)
        q = np.atleast_2d(np.asarray(q, dtype=np.float32))
        if q.ndim != 2 or q.shape[1] != self.collection.dim or not len(q):
            raise QueryError(f"query vectors of shape {q.shape}; the collection needs [Q, {self.collection.dim}]")
        length = np.linalg.norm(q, axis=1, keepdims=True)
        if not (np.isfinite(length) & (length > 0)).all():
            raise QueryError("a query vector is zero or not finite, so it has no direction to search in")
        with self._threads_for(len(q)):
            scores, rows = self._index.search(np.ascontiguousarray(q / length), k)
        return scores, rows

    def _hits(self, vector: npt.NDArray[np.float32], k: int) -> list[Hit]:
        scores, rows = self.search_vectors(vector, k)
        found = self.collection.items.take(rows[0]).select(["id", "path", "label"]).to_pylist()
        return [
            Hit(int(row), score=float(score), **item)
            for row, score, item in zip(rows[0], scores[0], found, strict=True)
        ]

    def _check_k(self, k: int, most: int | None = None) -> None:
        most = len(self) if most is None else most
        if not 1 <= k <= most:
            raise QueryError(f"k={k}: the collection has {len(self)} pictures, so k must be 1 to {most}")

    @contextmanager
    def _threads_for(self, queries: int) -> Iterator[None]:
        """One thread for one query: a second OpenMP thread makes a single scan several times slower, not faster."""
        before = self._faiss.omp_get_max_threads()
        if queries == 1:
            self._faiss.omp_set_num_threads(1)
        try:
            yield
        finally:
            self._faiss.omp_set_num_threads(before)


def _choose(faiss: Any, count: int, dim: int) -> tuple[Any, dict[str, Any]]:
    """The empty index for N = count vectors of D = dim, and what the manifest says about it.

    Exact search at every size: a scan of 500,000 x 384 takes some 30 ms on one core. This is the place for
    compressed indexes beyond that.
    """
    setting = {"index": "IndexFlatIP", "metric": "inner product", "exact": True, "recall": 1.0, "count": count}
    return faiss.IndexFlatIP(dim), setting
