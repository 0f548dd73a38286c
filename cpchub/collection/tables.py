"""The Parquet tables of a collection: their schemas, reading and writing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cpchub.common.files import replacing
from cpchub.errors import CollectionError

FAILURE_SCHEMA = pa.schema([("path", pa.string()), ("reason", pa.string())])


def vector_type(dim: int, dtype: str) -> pa.DataType:
    """The Arrow type of vectors of D = dim that are stored as "float32" or "float16"."""
    return pa.list_(pa.float16() if dtype == "float16" else pa.float32(), dim)


def vector_schema(dim: int, dtype: str = "float32") -> pa.Schema:
    """The schema of `vectors/*.parquet`."""
    return pa.schema([("id", pa.int64()), ("vector", vector_type(dim, dtype))])


def is_vector_type(kind: pa.DataType, dim: int) -> bool:
    return pa.types.is_fixed_size_list(kind) and kind.list_size == dim and pa.types.is_floating(kind.value_type)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file, or some columns of it, as a table. Raises CollectionError where it is missing or damaged."""
    try:
        # a plain file, read without the dataset layer that would glue partitions in
        with pq.ParquetFile(path) as file:
            return file.read(columns=None if columns is None else list(columns))
    except FileNotFoundError as error:
        raise CollectionError(
            f"{path} is missing. If the collection was updated just now, open it again; otherwise delete it and embed "
            "the images again"
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise CollectionError(
            f"{path} is damaged ({error}); delete the collection and embed the images again"
        ) from error


def write_table(table: pa.Table, path: Path, compression: str = "zstd") -> None:
    """Write Parquet, complete or not at all. Raises NoSpaceError or OutputError.

    A table without rows gets no row group, because Hugging Face `datasets` cannot read an empty one.
    """
    with replacing(path) as partial, pq.ParquetWriter(partial, table.schema, compression=compression) as file:
        if table.num_rows:
            file.write_table(table)
