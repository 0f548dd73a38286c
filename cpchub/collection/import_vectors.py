"""Import vectors that were computed elsewhere. Everything except embedding works on such a collection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.collection import Collection
from cpchub.collection.items import as_items
from cpchub.collection.manifest import (
    FOLDER,
    FORMAT,
    IMPORTED,
    MANIFEST,
    NO_SOURCE,
    finish_commit,
    read_manifest,
)
from cpchub.collection.stored.copy import StoredCollection
from cpchub.collection.stored.writer import writer_of
from cpchub.collection.tables import FAILURE_SCHEMA
from cpchub.collection.writer import write_state
from cpchub.common.files import check_free, expanded, only_writer, writing
from cpchub.common.vectors import unit_length, without_direction
from cpchub.common.words import counted, some
from cpchub.errors import ArgumentError, CollectionError, OutputError

SHARD = 65_536  # vectors a file


def import_vectors(
    folder: str | Path,
    vectors: npt.NDArray[Any],
    paths: Sequence[str],
    *,
    ids: Sequence[int] | npt.NDArray[np.int64] | None = None,
    labels: Sequence[str | None] | None = None,
    encoder: str = IMPORTED,
    source: str | Path = NO_SOURCE,
) -> Collection:
    """Make a collection of vectors that were computed elsewhere, or replace what an imported one holds.

    vectors: `[N, D]`, brought to unit length here. paths: what each row is called, below `source`. ids: ascending,
    0 to N - 1 by default; give an image the same id each time, so that `Index.update` knows what changed. If a vector
    changes for an id, the index becomes invalid and `Index.update` rebuilds it.

    Raises ArgumentError where lengths or ids do not fit, OutputError where the folder holds something else.
    """
    stored = StoredCollection.at(folder)
    folder = expanded(folder) if stored is None else stored.folder
    unit = _unit(vectors)
    numbers = np.arange(len(unit)) if ids is None else np.asarray(ids, dtype=np.int64)
    if not (len(unit) == len(paths) == len(numbers)) or (labels is not None and len(labels) != len(unit)):
        raise ArgumentError(
            f"{len(unit)} vectors, {len(paths)} paths, {len(numbers)} ids: there must be as many of each"
        )
    if (np.diff(numbers) <= 0).any() or numbers[0] < 0:
        raise ArgumentError("ids must be 0 or more and ascend, each once")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if stored is not None:
        stored.refresh()
        stored.check_free("choose a new place", collection=True)
    with writer_of(stored, only_writer(folder)):
        finish_commit(folder)
        old = _imported_before(folder, unit.shape[1])
        same = old is not None and _keeps_vectors(Collection(folder, old, stored), numbers, unit)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        manifest = {
            "format": FORMAT,
            "generation": old["generation"] + 1 if old else 1,
            "encoder": {"name": encoder, "fingerprint": IMPORTED, "repo_id": None, "revision": None, "folder": None},
            "dim": unit.shape[1],
            "dtype": "float32",
            "normalized": True,
            "count": len(unit),
            "next_id": max(int(numbers[-1]) + 1, old["next_id"] if old else 0),
            "created": old["created"] if old else now,
            "updated": now,
            "versions": {},
            "source": str(source),
            "source_kind": FOLDER,
            "search": old["search"] if old and same else None,
            "store": old["store"] if old else None,
            "labels": None,
            "failed": 0,
        }
        parts = ((numbers[at : at + SHARD], unit[at : at + SHARD]) for at in range(0, len(unit), SHARD))
        collection = write_state(folder, manifest, _items(numbers, paths, labels), FAILURE_SCHEMA.empty_table(), parts)
    return collection.kept_in(stored)


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    unit = np.array(vectors, dtype=np.float32)
    if unit.ndim != 2 or not unit.size:
        raise ArgumentError(f"vectors of shape {unit.shape}; give [N, D] with at least one row")
    bad = without_direction(unit)
    if len(bad):
        rows = f"{'row' if len(bad) == 1 else 'rows'} {some([str(row) for row in bad[:3]], len(bad))}"
        raise ArgumentError(
            f"{len(bad):,} of {counted(len(unit), 'vector')} {'is' if len(bad) == 1 else 'are'} zero or not finite, in "
            f"{rows}; leave them out, or compute them again"
        )
    return unit_length(unit)


def _keeps_vectors(old: Collection, ids: npt.NDArray[np.int64], vectors: npt.NDArray[np.float32]) -> bool:
    """Whether every remaining id has its old vector; only then the index is still valid."""
    try:
        for old_ids, before in old.vector_shards():
            places = np.minimum(np.searchsorted(ids, old_ids), len(ids) - 1)
            stays = ids[places] == old_ids
            if not np.array_equal(vectors[places[stays]], before[stays]):
                return False
    except CollectionError:  # damaged, and about to be replaced
        return False
    return True


def _imported_before(folder: Path, dim: int) -> dict[str, Any] | None:
    """The manifest of a collection that `import_vectors` may replace; None in an empty folder."""
    if not (folder / MANIFEST).exists():
        check_free(folder)
        return None
    manifest = read_manifest(folder)
    if not Collection(folder, manifest).imported or manifest["dim"] != dim:
        raise OutputError(f"{folder} holds a collection of other vectors; choose a new folder")
    return manifest


def _items(ids: npt.NDArray[np.int64], paths: Sequence[str], labels: Sequence[str | None] | None) -> pa.Table:
    """An item table that knows only ids, paths and labels."""
    items = as_items(pa.table({"id": ids, "path": pa.array(paths, pa.string())}))
    label = pa.nulls(len(ids), pa.string()) if labels is None else pa.array(labels, pa.string())
    return items.append_column("label", label)
