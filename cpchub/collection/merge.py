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
from cpchub.collection.parts import PART, parts_in_order
from cpchub.collection.stored.copy import StoredCollection
from cpchub.collection.stored.writer import writer_of
from cpchub.collection.tables import FAILURE_SCHEMA
from cpchub.collection.writer import write_state
from cpchub.common.files import check_free, only_writer, writing
from cpchub.errors import ArgumentError, CollectionError
from cpchub.media.sources.columns import stacked


def merge(folders: Sequence[str | Path], out: str | Path) -> Collection:
    """Make one collection of several that the same encoder embedded; build its index with `Index.build`.

    The parts of one job (`embed(..., part="3/8")`) become the collection of the whole job, as one process would have
    made it: ids, order, failures and source. Of others the source is the folder that all of their sources lie in, so
    paths get the names of the folders in between. Later `cpchub index IMAGES -o OUT` keeps it in step with its source.

    Raises ArgumentError for fewer than two, EncoderMismatchError, CollectionError where an image is in two of them, a
    source is not a folder, or a part is missing, OutputError where `out` holds something.
    """
    parts, stored = [Collection.open(folder) for folder in folders], StoredCollection.at(out)
    folder = Path(out) if stored is None else stored.folder
    of_a_job = any(PART in part.manifest for part in parts)
    if of_a_job:
        parts = parts_in_order(parts)
    elif len(parts) < 2:
        raise ArgumentError("there is nothing to merge with: name two collections or more")
    first = parts[0]
    for part in parts:
        check_same_encoder(part.place, part.manifest["encoder"], _Recorded(first))
        if not of_a_job and part.manifest.get("source_kind", FOLDER) != FOLDER:
            raise CollectionError(f"{part.place} is of {part.location}; only collections of folders can be merged")
    if stored is not None:
        stored.refresh()
        stored.check_free("choose a new place")
    check_free(folder)
    starts = np.cumsum([0, *[int(part.manifest["next_id"]) for part in parts]]).tolist()
    items, failures, origin = _as_one_job(parts, starts) if of_a_job else _below_one_folder(parts, starts)
    _check_each_once(items["path"].to_pylist(), out)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    manifest = {
        **{name: value for name, value in first.manifest.items() if name != PART},
        "generation": 1,
        "count": items.num_rows,
        "next_id": starts[-1],
        "created": now,
        "updated": now,
        **origin,
        "failed": failures.num_rows,
        "search": None,
        "store": None,
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with writer_of(stored, only_writer(folder)):
        vectors = _vectors(parts, starts, np.dtype(first.dtype))
        collection = write_state(folder, manifest, items, failures.cast(FAILURE_SCHEMA), vectors)
    return collection.kept_in(stored)


def _below_one_folder(parts: Sequence[Collection], starts: Sequence[int]) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    """Items and failures with paths below the folder that all sources lie in, and what the manifest says of it."""
    source = Path(os.path.commonpath([part.source.absolute() for part in parts]))
    moved = [_moved(part, part.items, source, start) for part, start in zip(parts, starts, strict=False)]
    failures = [_moved(part, part.failures, source) for part in parts]
    rules = parts[0].manifest["rules"] if len({str(part.manifest["rules"]) for part in parts}) == 1 else None
    # no labels: they were derived from the old paths; the labels stay with their images
    origin = {"source": str(source), "source_kind": FOLDER, "rules": rules, "labels": None}
    return stacked(moved).combine_chunks(), pa.concat_tables(failures), origin


def _as_one_job(parts: Sequence[Collection], starts: Sequence[int]) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    """Items and failures of all parts; what could not be listed is told by each of them. Raises CollectionError."""
    items = stacked([_renumbered(part.items, start) for part, start in zip(parts, starts, strict=False)])
    if not items.num_rows:
        raise CollectionError(f"none of the images of {parts[0].location} could be read, in any of its parts")
    failures = pa.concat_tables([part.failures.replace_schema_metadata(None) for part in parts])
    unique = failures.group_by(failures.column_names).aggregate([]).select(failures.column_names)
    return items.combine_chunks(), unique.sort_by("path").combine_chunks(), {}


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
    return table if first_id is None else _renumbered(table, first_id)


def _renumbered(items: pa.Table, first_id: int) -> pa.Table:
    items = items.replace_schema_metadata(None)
    return items.set_column(0, "id", pa.array(items["id"].to_numpy() + first_id))


def _vectors(
    parts: Sequence[Collection], starts: Sequence[int], dtype: np.dtype[Any]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]]:
    for part, start in zip(parts, starts, strict=False):
        for ids, vectors in part.vector_shards():
            yield ids + start, vectors.astype(dtype, copy=False)


def _check_each_once(paths: list[str], out: str | Path) -> None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise CollectionError(f"{path} is in two of the collections that {out} is to hold; merge one of them only")
        seen.add(path)
