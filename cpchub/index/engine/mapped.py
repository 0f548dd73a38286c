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
import pyarrow as pa

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import GENERATION
from cpchub.collection.writer import write_npy
from cpchub.common.files import replacing, writing
from cpchub.errors import CollectionError

FOLDER, VECTORS_NPY, ITEMS_ARROW = "search", "vectors.npy", "items.arrow"
Vectors = npt.NDArray[Any]  # float32 or float16
Ids = npt.NDArray[np.int64]


def item_ids(collection: Collection, *, mapped: bool = False) -> Ids:
    """The ids of the collection, `[N]`, ascending; from the mapped items, if those are written."""
    items = open_items(collection) if mapped else collection.items
    return np.asarray(items["id"].to_numpy(), dtype=np.int64)


def write_vectors(collection: Collection) -> None:
    """Write `vectors.npy`. Raises CollectionError where vectors and items do not belong together."""
    with replacing(_make(collection) / VECTORS_NPY) as partial:
        write_npy(collection, partial, np.dtype(collection.dtype))


def write_items(collection: Collection) -> None:
    """Write `items.arrow`, marked with the state of the collection that it is of."""
    items = collection.items.combine_chunks()
    path = _make(collection) / ITEMS_ARROW
    with replacing(path) as partial, pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, items.schema) as to:
        to.write_table(items)


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


def open_items(collection: Collection) -> pa.Table:
    """`items.arrow`, mapped; where it is missing or of an earlier state, the items from Parquet, in memory."""
    path = collection.folder / FOLDER / ITEMS_ARROW
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowException):
        return collection.items
    mark = str(collection.manifest["generation"]).encode()
    if (table.schema.metadata or {}).get(GENERATION) != mark or table.num_rows != len(collection):
        return collection.items
    return table


def _make(collection: Collection) -> Path:
    folder = collection.folder / FOLDER
    with writing(folder):
        folder.mkdir(exist_ok=True)
    return folder


def _again(collection: Collection) -> str:
    return f"build the index again: {collection.index_again}"
