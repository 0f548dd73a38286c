"""A collection: a folder with the vectors of a set of images.

    manifest.json      encoder, dimension, counts, versions, source, search setting; written last
    items.parquet      id, path, size, mtime_ns, etag, sha256, width, height, label and the user's own columns, by id
    vectors/*.parquet  id, vector (float32 or float16, unit length), in the order of the items
    failures.parquet   path, reason: images that could not be embedded
    index.faiss        a plain FAISS file over the vectors, which answers with the ids of the items
    search/            derived from these, for fast search: memory-mapped vectors and items, queries that measure
    recall
    map.parquet        derived: where each image lies on the map; clean/ likewise: duplicates and outliers
    marks.csv          what visitors of the page say of images that may go; labels/ likewise: their labels

Other tools can read every part: Parquet, JSON and FAISS. `embed` writes a collection, this module reads it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.catalog.spec import ModelSpec
from cpchub.collection.counts import Counts
from cpchub.collection.manifest import (
    FAILURES,
    FOLDER,
    GENERATION,
    IMPORTED,
    ITEMS,
    LIST,
    MANIFEST,
    NO_SOURCE,
    VECTORS,
    check_same_encoder,
    encoder_to_load,
    finish_commit,
    read_manifest,
)
from cpchub.collection.mapped_items import open_mapped
from cpchub.collection.stored.copy import StoredCollection
from cpchub.collection.tables import is_vector_type, read_table
from cpchub.common.files import expanded
from cpchub.common.words import some
from cpchub.errors import BrokenImageError, CollectionError, QueryError
from cpchub.media.rules import Rules
from cpchub.media.sources import ListedImage, Source, open_source
from cpchub.media.sources.storage import listed_file


class Collection:
    """A collection on disk. N is its number of images, D the dimension of its vectors.

    A row is the position of an image in `items`, `vectors()` and the search index, 0 to N - 1. An image keeps its id
    until it is removed; its row changes when earlier images are removed.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], stored: StoredCollection | None = None) -> None:
        self.folder = folder  # of a collection in a bucket its copy here, in which `fetch` puts what is missing
        self.stored = stored
        self.manifest = manifest
        self.counts = Counts(unchanged=manifest["count"])  # what the call of `embed` that returned it did
        self.notes: tuple[str, ...] = ()  # what that call passed over, in sentences

    @classmethod
    def open(cls, folder: str | Path) -> Collection:
        """Open the collection in a folder, or at a URL of a bucket, of which a copy is kept here.

        Raises CollectionError where there is none, it is not finished, damaged, or of a newer format; for a bucket also
        StoreError where it cannot be reached, and DependencyError.
        """
        stored = StoredCollection.at(folder)
        if stored is not None:
            with stored.in_its_name():
                stored.refresh()
                return cls(stored.folder, read_manifest(stored.folder), stored)
        folder = expanded(folder)
        finish_commit(folder)
        return cls(folder, read_manifest(folder))

    def __len__(self) -> int:
        return int(self.manifest["count"])

    def __repr__(self) -> str:
        return f"Collection({self.place!r}, {len(self)} images, encoder {self.encoder_name!r})"

    def kept_in(self, stored: StoredCollection | None) -> Collection:
        """The same collection, opened from the copy of `stored`."""
        self.stored = stored
        return self

    @property
    def place(self) -> str:
        """Where the collection is: its folder, or the URL of a bucket."""
        return str(self.folder) if self.stored is None else self.stored.url

    def fetch(self, *names: str) -> None:
        """Fetch files that the copy of a stored collection lacks; a name that ends with `/` means all below it.

        Raises CollectionError where the collection was updated since it was opened, and StoreError.
        """
        if self.stored is not None:
            self.stored.fetch(*names)

    @property
    def dim(self) -> int:
        """D, the dimension of the vectors."""
        return int(self.manifest["dim"])

    @property
    def source(self) -> Path:
        """Where the images come from, as a path; of a bucket and the like see `location`."""
        return Path(self.manifest["source"])

    @property
    def location(self) -> str:
        """Where the images come from: a folder, a file, or the URL of a bucket."""
        return str(self.manifest["source"])

    @property
    def source_in_words(self) -> str:
        """`location`, or that the vectors were imported, where nobody said what they are of."""
        return "imported vectors" if self.imported and self.location == NO_SOURCE else self.location

    @property
    def imported(self) -> bool:
        """Whether the vectors were computed elsewhere, so that no image can be embedded beside them."""
        return bool(self.manifest["encoder"]["fingerprint"] == IMPORTED)

    @property
    def index_again(self) -> str:
        """The command that brings it and its index in step with its source, for a shell; of imported vectors, the call
        in Python that brings the index in step with them.
        """
        if self.imported:
            return f"cpchub.Index.update(cpchub.Collection.open({self.place!r}))"
        return shlex.join(["cpchub", "index", self.location, "-o", self.place])

    @property
    def dtype(self) -> str:
        """How the vectors are stored, "float32" or "float16"; `vectors()` gives float32 of both."""
        return str(self.manifest.get("dtype", "float32"))

    @property
    def encoder_name(self) -> str:
        """The name of the encoder that embedded the images."""
        return str(self.manifest["encoder"]["name"])

    @property
    def encoder_to_load(self) -> str:
        """The argument with which `cpchub.load` finds that encoder again: its folder, `org/name@commit`, or its
        name."""
        return encoder_to_load(self.manifest["encoder"])

    @cached_property
    def items(self) -> pa.Table:
        """One row an image, by id: `items.ITEM_SCHEMA`, label, the user's columns. Raises CollectionError."""
        items = self._read(ITEMS)
        if items.num_rows != len(self):
            raise self._damaged(f"{ITEMS} has {items.num_rows} rows, the manifest says {len(self)}")
        return items

    @cached_property
    def mapped_items(self) -> pa.Table:
        """As `items`, mapped from disk where an index has been built since the last change; else in memory."""
        found = open_mapped(self.folder, self.manifest)
        return self.items if found is None else found

    @cached_property
    def paths(self) -> list[str]:
        """The path of each row, below `source`, with `/` between parts."""
        paths: list[str] = self.items["path"].to_pylist()
        return paths

    @cached_property
    def failures(self) -> pa.Table:
        """path, reason: the images of the source that could not be embedded."""
        return self._read(FAILURES)

    def vectors(self) -> npt.NDArray[np.float32]:
        """All vectors, `[N, D]` float32 of unit length (to the precision of `dtype`), row by row with `items`.

        Read once, then kept, read-only.

        Raises CollectionError if a file is damaged or does not belong to the items.
        """
        return self._vectors

    @cached_property
    def _vectors(self) -> npt.NDArray[np.float32]:
        vectors, row = np.empty((len(self), self.dim), np.float32), 0
        for ids, shard in self.vector_shards():
            vectors[row : row + len(ids)] = shard
            row += len(ids)
        vectors.flags.writeable = False
        return vectors

    def vector_shards(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]]:
        """Ids `[n]` and vectors `[n, D]` (of `dtype`) of each vector file, in the order of the rows.

        One file is in memory at a time. Raises as `vectors` does.
        """
        ids, row = self.items["id"].to_numpy(), 0
        self.fetch(*(f"{VECTORS}/{shard['file']}" for shard in self.manifest["shards"]))
        for shard in self.manifest["shards"]:
            table = read_table(self.folder / VECTORS / shard["file"])
            if table.column_names != ["id", "vector"] or not is_vector_type(table["vector"].type, self.dim):
                raise self._damaged(f"{VECTORS}/{shard['file']} does not hold ids and vectors of {self.dim} dimensions")
            end = row + table.num_rows
            # rows and vectors must stay aligned
            if not np.array_equal(table["id"].to_numpy(), ids[row:end]):
                raise self._damaged(f"the ids in {VECTORS}/ are not those in {ITEMS}")
            vectors = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, self.dim)
            self._check_numbers(vectors, row)
            yield ids[row:end], vectors
            row = end
        if row != len(self):
            raise self._damaged(f"{VECTORS}/ has {row} vectors for {len(self)} images")

    def _check_numbers(self, vectors: npt.NDArray[Any], first: int) -> None:
        """Raise CollectionError, naming the images, for NaN or infinity in the vectors of the rows from `first` on."""
        if not np.isfinite(vectors).all():
            bad = first + np.flatnonzero(~np.isfinite(vectors).all(axis=1))
            named = some([f"{row} ({self.paths[row]})" for row in bad[:3]], len(bad))
            raise self._damaged(f"{VECTORS}/ holds NaN or infinity in {'row' if len(bad) == 1 else 'rows'} {named}")

    def path_of(self, row: int) -> Path:
        """The image file of a row.

        Raises QueryError for a row that is not there, and for an image that is no file of its own: see `image`.
        """
        path = self._path(row)
        kind = self.manifest.get("source_kind", FOLDER)
        if kind == LIST and "://" not in path:
            return listed_file(self.source, path)
        if kind != FOLDER or "://" in self.location:
            raise QueryError(f"{path} is not a file of this machine; Collection.image({row}) reads it")
        return self.source / path

    def image(self, row: int) -> Path | bytes:
        """The image of a row, for `read_image`: its file, or its bytes out of a tar, a table, a bucket or the web.

        Raises QueryError for a row that is not there, SourceError and BrokenImageError where it cannot be had.
        """
        try:
            return self.path_of(row)
        except QueryError:
            path = self._path(row)
        if self.manifest.get("source_kind") == LIST:  # its path is all that is needed to fetch it
            return self._opened_source.read(ListedImage(path, None))
        if path not in self._images:
            raise BrokenImageError(f"{path} is no longer in {self.location}")
        return self._opened_source.read(self._images[path])

    picture = image  # its name in 0.1.0

    @cached_property
    def _opened_source(self) -> Source:
        rules = Rules.from_record(self.manifest["rules"])
        return open_source(self.location, rules=rules, kind=self.manifest.get("source_kind"))

    @cached_property
    def _images(self) -> dict[str, ListedImage]:
        return {image.path: image for image in self._opened_source.listing().images}

    def _path(self, row: int) -> str:
        path: str = self.mapped_items["path"][self.check_row(row)].as_py()
        return path

    def check_row(self, row: int) -> int:
        """The row itself; raises QueryError where it is not one of 0 to N - 1."""
        if not 0 <= row < len(self):
            raise QueryError(f"no row {row} in {self.place}: it has {len(self)} images, rows 0 to {len(self) - 1}")
        return int(row)

    def check_encoder(self, spec: ModelSpec) -> None:
        """Raises EncoderMismatchError, naming both, unless `spec` is the encoder that embedded the collection.

        Raises ArgumentError for an encoder of sounds.
        """
        spec.check_takes_images(f"the collection {self.place}")
        check_same_encoder(self.place, self.manifest["encoder"], spec)

    def _read(self, name: str) -> pa.Table:
        table = read_table(self.folder / name)
        if (table.schema.metadata or {}).get(GENERATION) != str(self.manifest["generation"]).encode():
            raise self._damaged(f"{name} and {MANIFEST} are from different runs")
        return table

    def _damaged(self, what: str) -> CollectionError:
        return CollectionError(
            f"{self.place}: {what}. If it was updated just now, open it again; otherwise files were changed by hand: "
            "delete the folder and embed the images again"
        )
