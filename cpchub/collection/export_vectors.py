"""Export a collection to other engines.

numpy    vectors.npy, ids.npy, items.parquet
milvus   Parquet files and a schema for Milvus's bulk import, or straight into a Milvus (Lite, server, cluster)
lance    a Lance table
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import ITEMS
from cpchub.collection.tables import write_table
from cpchub.collection.writer import fixed_size_list, write_npy
from cpchub.common.extras import import_extra
from cpchub.common.files import check_free, expanded, put_in_place, writing
from cpchub.errors import ArgumentError, OutputError

Format = Literal["numpy", "milvus", "lance"]
FORMATS: tuple[Format, ...] = ("numpy", "milvus", "lance")


def export_vectors(collection: Collection, out: str | Path, to: Format, *, uri: str | None = None) -> int:
    """Write ids, paths, labels and vectors for another engine; returns how many.

    out: a folder that is new or empty. uri: for Milvus, the server or the `.db` file to insert into; `out` is then the
    name of the collection there.

    Raises OutputError, DependencyError where the engine's client is not installed, ArgumentError.
    """
    if uri is not None:
        if to != "milvus":
            raise ArgumentError(f"uri={uri!r} goes with milvus only, not with {to}")
        return _into_milvus(collection, str(out), uri)
    write = {"numpy": _to_numpy, "milvus": _to_milvus_files, "lance": _to_lance}.get(to)
    if write is None:
        raise ArgumentError(f"to={to!r}: choose one of {', '.join(FORMATS)}")
    folder = expanded(out)
    check_free(folder)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            complete = Path(scratch) / "export"
            complete.mkdir()
            write(collection, complete)
            put_in_place(complete, folder)
    return len(collection)


def _batches(collection: Collection) -> Iterator[pa.Table]:
    """id, path, label, vector; a file of vectors at a time."""
    row = 0
    for ids, vectors in collection.vector_shards():
        named = collection.items.slice(row, len(ids)).select(["id", "path", "label"])
        yield named.append_column("vector", fixed_size_list(vectors.astype(np.float32, copy=False)))
        row += len(ids)


def _to_numpy(collection: Collection, folder: Path) -> None:
    write_npy(collection, folder / "vectors.npy", np.dtype(np.float32))
    np.save(folder / "ids.npy", collection.items["id"].to_numpy())
    write_table(collection.items.replace_schema_metadata(None), folder / ITEMS, compression="snappy")


def _to_milvus_files(collection: Collection, folder: Path) -> None:
    """Parquet as Milvus's bulk import reads it: a list column for the vectors, no nulls, ids as primary keys."""
    for number, table in enumerate(_batches(collection)):
        vectors = table["vector"].cast(pa.list_(pa.float32()))
        label = table["label"].fill_null("") if table["label"].null_count else table["label"]
        table = table.set_column(2, "label", label).set_column(3, "vector", vectors)
        write_table(table, folder / f"{number:05d}.parquet", compression="snappy")
    (folder / "schema.json").write_text(json.dumps(_milvus_fields(collection), indent=2) + "\n", encoding="utf-8")


def _milvus_fields(collection: Collection) -> list[dict[str, Any]]:
    longest = {name: _longest(collection.items[name]) for name in ("path", "label")}
    return [
        {"name": "id", "type": "INT64", "is_primary": True},
        {"name": "path", "type": "VARCHAR", "max_length": longest["path"]},
        {"name": "label", "type": "VARCHAR", "max_length": longest["label"]},
        {"name": "vector", "type": "FLOAT_VECTOR", "dim": collection.dim, "metric_type": "IP"},
    ]


def _into_milvus(collection: Collection, name: str, uri: str) -> int:
    milvus = import_extra("pymilvus", extra="milvus")
    try:
        client = milvus.MilvusClient(uri)
        if client.has_collection(name):
            raise OutputError(f"{uri} has a collection {name!r} already; choose another name, or drop that one")
        schema = client.create_schema(auto_id=False)
        index = client.prepare_index_params()
        for field in _milvus_fields(collection):
            metric = field.pop("metric_type", None)
            schema.add_field(field.pop("name"), milvus.DataType[field.pop("type")], **field)
            if metric:
                index.add_index("vector", index_type="AUTOINDEX", metric_type=metric)
        client.create_collection(name, schema=schema, index_params=index)
        try:
            for table in _batches(collection):
                for start in range(0, table.num_rows, 1000):  # a request of Milvus holds 64 MB at most
                    rows = table.slice(start, 1000).to_pylist()
                    client.insert(name, [{**row, "label": row["label"] or ""} for row in rows])
            client.flush(name)
        except BaseException:
            client.drop_collection(name)  # a partial insert would look complete
            raise
        finally:
            client.close()
    except milvus.MilvusException as error:
        raise OutputError(f"Milvus at {uri} refuses: {error}") from error
    return len(collection)


def _to_lance(collection: Collection, folder: Path) -> None:
    lance = import_extra("lance", extra="lance")
    mode = "create"
    for table in _batches(collection):
        lance.write_dataset(table, str(folder / "items.lance"), mode=mode)
        mode = "append"


def _longest(column: pa.ChunkedArray) -> int:
    """The bytes of the longest text in a column, with a margin."""
    longest = max((len(text.encode()) for text in column.to_pylist() if text), default=0)
    return min(65_535, max(64, 2 * longest))
