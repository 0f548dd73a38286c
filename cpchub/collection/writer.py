"""Write the vector files of a collection, and replace its state atomically."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import (
    COMMIT,
    FAILURES,
    GENERATION,
    INDEX,
    ITEMS,
    MANIFEST,
    PENDING,
    VECTORS,
    finish_commit,
)
from cpchub.collection.tables import read_table, vector_schema, write_table
from cpchub.common.files import PARTIAL, write_json, writing


def write_state(
    folder: Path,
    manifest: dict[str, Any],
    items: pa.Table,
    failures: pa.Table,
    vectors: Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]],
) -> Collection:
    """Replace the content of a collection folder atomically. The caller holds the lock of the folder.

    manifest: without `shards`, of a generation that was not there before. vectors: ids `[n]` and vectors `[n, D]`, a
    file each, in the order of the items.
    """
    writer = VectorWriter(folder, manifest["generation"], vector_schema(manifest["dim"], manifest["dtype"]))
    for ids, some in vectors:
        writer.add(pa.table({"id": ids, "vector": fixed_size_list(some)}))
    commit(folder, folder / f".{COMMIT}", {**manifest, "shards": writer.shards}, items, failures)
    collection = Collection.open(folder)
    sweep(collection)
    return collection


def fixed_size_list(vectors: npt.NDArray[Any]) -> pa.FixedSizeListArray:
    """`[n, D]` as an Arrow column of lists of D."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), vectors.shape[1])


def write_npy(collection: Collection, path: Path, dtype: np.dtype[Any]) -> None:
    """All vectors as one numpy file `[N, D]`, with one vector file in memory at a time."""
    shape = (len(collection), collection.dim)
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for _, vectors in collection.vector_shards():
            file.write(np.ascontiguousarray(vectors, dtype=dtype).data)


def sweep(collection: Collection) -> None:
    """Delete what a finished run leaves behind: shards, and vector files and an index that are no longer valid."""
    folder = collection.folder
    shutil.rmtree(folder / PENDING, ignore_errors=True)
    counted = {shard["file"] for shard in collection.manifest["shards"]}
    stale = [path for path in (folder / VECTORS).glob("*") if path.name not in counted]
    if not collection.manifest["search"]:
        stale.append(folder / INDEX)
    for path in (*stale, *folder.glob(f".*{PARTIAL}")):
        path.unlink(missing_ok=True)


def commit(folder: Path, stage: Path, manifest: dict[str, Any], items: pa.Table, failures: pa.Table) -> None:
    """Replace items, failures and manifest of a collection atomically; they are prepared in the folder `stage`.

    The vectors that the manifest names are there already.
    """
    with writing(stage):
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
    mark = {GENERATION: str(manifest["generation"]).encode()}
    write_table(items.replace_schema_metadata(mark), stage / ITEMS)
    write_table(failures.replace_schema_metadata(mark), stage / FAILURES)
    write_json(stage / MANIFEST, manifest)
    with writing(folder):
        stage.rename(folder / COMMIT)
    finish_commit(folder)


def holds_any(shard: dict[str, Any], ids: npt.NDArray[np.int64]) -> bool:
    """Whether some of the ids can be in a vector file, by its entry in the manifest."""
    return bool(((ids >= shard["first_id"]) & (ids <= shard["last_id"])).any())


class VectorWriter:
    """Writes the vector files of one generation of a collection, numbered from zero; a rerun writes the same names."""

    def __init__(self, collection: Path, generation: int, schema: pa.Schema) -> None:
        self._folder, self._generation, self._schema = collection / VECTORS, generation, schema
        self.shards: list[dict[str, Any]] = []
        with writing(self._folder):
            self._folder.mkdir(exist_ok=True)

    def keep(self, shard: dict[str, Any], dropped: npt.NDArray[np.int64]) -> None:
        """Carry over an older file, rewritten without the dropped ids where it holds any of them."""
        if not holds_any(shard, dropped):
            self.shards.append(shard)
            return
        table = read_table(self._folder / shard["file"])
        self.add(table.filter(pc.invert(pc.is_in(table["id"], pa.array(dropped)))))

    def add(self, table: pa.Table) -> None:
        """Write ids and vectors, `id` ascending; an empty table writes nothing."""
        if not table.num_rows:
            return
        name = f"{self._generation:05d}-{len(self.shards):05d}.parquet"
        write_table(table.select(self._schema.names).cast(self._schema), self._folder / name)
        ids = table["id"]
        entry = {"file": name, "rows": table.num_rows, "first_id": ids[0].as_py(), "last_id": ids[-1].as_py()}
        self.shards.append(entry)
