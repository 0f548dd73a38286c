"""Memory-mapped vectors and items of a collection: the system loads only the pages that are used.

    search/vectors.npy   [N, D] float32 or float16, rows as in the collection, to compare candidates exactly
    search/items.arrow   the items, uncompressed, to say what was found

Both are derived from the collection's Parquet, written with the index and written again when the collection changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cpchub.collection.collection import Collection
from cpchub.collection.mapped_items import FOLDER, write_mapped
from cpchub.collection.writer import write_npy
from cpchub.common.columns import numbers
from cpchub.common.files import replacing, writing
from cpchub.errors import CollectionError

VECTORS_NPY = "vectors.npy"
Vectors = npt.NDArray[Any]  # float32 or float16
Ids = npt.NDArray[np.int64]


def item_ids(collection: Collection, *, mapped: bool = False) -> Ids:
    """The ids of the collection, `[N]`, ascending; from the mapped items, if those are written."""
    items = collection.mapped_items if mapped else collection.items
    return numbers(items["id"])


def write_vectors(collection: Collection) -> None:
    """Write `vectors.npy`. Raises CollectionError where vectors and items do not belong together."""
    with replacing(_make(collection) / VECTORS_NPY) as partial:
        write_npy(collection, partial, np.dtype(collection.dtype))


def write_items(collection: Collection) -> None:
    """Write `items.arrow`, marked with the state of the collection that it is of."""
    write_mapped(collection.folder, collection.items)


def open_vectors(collection: Collection) -> Vectors:
    """`vectors.npy`, mapped read-only. Raises CollectionError where it is missing or of another shape."""
    path = collection.folder / FOLDER / VECTORS_NPY
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CollectionError(f"{path} cannot be read ({error}); {_again(collection)}") from error
    if mapped.shape != (len(collection), collection.dim) or mapped.dtype not in (np.float32, np.float16):
        raise CollectionError(
            f"{path} holds {mapped.dtype} {mapped.shape}, the collection {(len(collection), collection.dim)}; "
            f"{_again(collection)}"
        )
    return mapped.view(np.ndarray)  # the subclass memmap costs time at every look-up


def _make(collection: Collection) -> Path:
    folder = collection.folder / FOLDER
    with writing(folder):
        folder.mkdir(exist_ok=True)
    return folder


def _again(collection: Collection) -> str:
    return f"build the index again: {collection.index_again}"
