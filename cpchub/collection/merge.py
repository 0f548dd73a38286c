"""Merge collections without embedding anything again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import FOLDER, check_same_encoder
from cpchub.collection.tables import FAILURE_SCHEMA
from cpchub.collection.writer import write_state
from cpchub.common.files import check_free, only_writer, writing
from cpchub.errors import ArgumentError, CollectionError
from cpchub.media.sources.columns import stacked


def merge(folders: Sequence[str | Path], out: str | Path) -> Collection:
    """Make one collection of several that the same encoder embedded; build its index with `Index.build`.

    Its source is the folder that all of their sources lie in, so paths get the names of the folders in between. Later
    `cpchub index IMAGES -o OUT` keeps it in step with that folder.

    Raises ArgumentError for fewer than two, EncoderMismatchError, CollectionError where an image is in two of them or
    a source is not a folder, OutputError where `out` holds something.
    """
    if len(folders) < 2:
        raise ArgumentError("there is nothing to merge with: name two collections or more")
    parts = [Collection.open(folder) for folder in folders]
    first, out = parts[0], Path(out)
    for part in parts:
        check_same_encoder(part.folder, part.manifest["encoder"], _Recorded(first))
        if part.manifest.get("source_kind", FOLDER) != FOLDER:
            raise CollectionError(f"{part.folder} is of {part.location}; only collections of folders can be merged")
    check_free(out)
    source = Path(os.path.commonpath([part.source.absolute() for part in parts]))
    starts = np.cumsum([0, *[int(part.manifest["next_id"]) for part in parts]]).tolist()
    moved = [_moved(part, part.items, source, start) for part, start in zip(parts, starts, strict=False)]
    items = stacked(moved).combine_chunks()
    _check_each_once(items["path"].to_pylist(), out)
    failures = [_moved(part, part.failures, source) for part in parts]
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    manifest = {
        **first.manifest,
        "generation": 1,
        "count": items.num_rows,
        "next_id": starts[-1],
        "created": now,
        "updated": now,
        "source": str(source),
        "source_kind": FOLDER,
        "rules": first.manifest["rules"] if len({str(part.manifest["rules"]) for part in parts}) == 1 else None,
        "labels": None,  # they were derived from the old paths; the labels stay with their images
        "failed": sum(table.num_rows for table in failures),
        "search": None,
    }
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with only_writer(out):
        vectors = _vectors(parts, starts, np.dtype(first.dtype))
        return write_state(out, manifest, items, pa.concat_tables(failures).cast(FAILURE_SCHEMA), vectors)


class _Recorded:
    """The encoder of a collection, as its manifest has it."""

    def __init__(self, collection: Collection) -> None:
        self.name = collection.encoder_name
        self.fingerprint = str(collection.manifest["encoder"]["fingerprint"])


def _moved(part: Collection, table: pa.Table, source: Path, first_id: int | None = None) -> pa.Table:
    """A table of a part with its paths below the common source, and ids from `first_id` on."""
    table = table.replace_schema_metadata(None)
    below = PurePosixPath(part.source.absolute().relative_to(source))
    paths = pa.array([str(below / path) for path in table["path"].to_pylist()], pa.string())
    table = table.set_column(table.schema.get_field_index("path"), "path", paths)
    if first_id is None:
        return table
    return table.set_column(0, "id", pa.array(table["id"].to_numpy() + first_id))


def _vectors(
    parts: Sequence[Collection], starts: Sequence[int], dtype: np.dtype[Any]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]]:
    for part, start in zip(parts, starts, strict=False):
        for ids, vectors in part.vector_shards():
            yield ids + start, vectors.astype(dtype, copy=False)


def _check_each_once(paths: list[str], out: Path) -> None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise CollectionError(f"{path} is in two of the collections that {out} is to hold; merge one of them only")
        seen.add(path)
