"""A collection of vectors that were computed elsewhere: everything but embedding works on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection import (
    COMMIT,
    FAILURE_SCHEMA,
    FAILURES,
    FOLDER,
    FORMAT,
    GENERATION,
    ITEMS,
    MANIFEST,
    VECTORS,
    Collection,
    finish_commit,
    read_manifest,
    write_table,
)
from cpchub.errors import ArgumentError, OutputError
from cpchub.files import only_writer, visible_names, write_json, writing
from cpchub.items import as_items

SHARD = 65_536  # vectors a file
IMPORTED = "imported"


def import_vectors(
    folder: str | Path,
    vectors: npt.NDArray[Any],
    paths: Sequence[str],
    *,
    ids: Sequence[int] | npt.NDArray[np.int64] | None = None,
    labels: Sequence[str | None] | None = None,
    encoder: str = IMPORTED,
    source: str | Path = ".",
) -> Collection:
    """Make a collection of vectors that were computed elsewhere, or replace what an imported one holds.

    vectors: `[N, D]`, brought to unit length here. paths: what each row is called, below `source`. ids: ascending,
    0 to N - 1 by default; give the same id to the same picture again, so that `Index.update` knows what changed.

    Raises ArgumentError where lengths or ids do not fit, OutputError where the folder holds something else.
    """
    folder = Path(folder)
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
    with only_writer(folder):
        old = _imported_before(folder, unit.shape[1])
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
            "search": old["search"] if old else None,
            "labels": None,
            "failed": 0,
        }
        parts = ((numbers[at : at + SHARD], unit[at : at + SHARD]) for at in range(0, len(unit), SHARD))
        write_state(folder, manifest, _items(numbers, paths, labels), FAILURE_SCHEMA.empty_table(), parts)
    return Collection.open(folder)


def write_state(
    folder: Path,
    manifest: dict[str, Any],
    items: pa.Table,
    failures: pa.Table,
    vectors: Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]],
) -> None:
    """Give a collection folder a new content, all of it or nothing; the caller holds the folder.

    manifest: without `shards`, of a generation that was not there before. vectors: ids `[n]` and vectors `[n, D]`, a
    file each, in the order of the items.
    """
    generation, shards = manifest["generation"], []
    with writing(folder / VECTORS):
        (folder / VECTORS).mkdir(exist_ok=True)
    for number, (ids, some) in enumerate(vectors):
        name = f"{generation:05d}-{number:05d}.parquet"
        write_table(pa.table({"id": ids, "vector": fixed_size_list(some)}), folder / VECTORS / name)
        shards.append({"file": name, "rows": len(ids), "first_id": int(ids[0]), "last_id": int(ids[-1])})
    stage = folder / f".{COMMIT}"
    with writing(stage):
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
    mark = {GENERATION: str(generation).encode()}
    write_table(items.replace_schema_metadata(mark), stage / ITEMS)
    write_table(failures.replace_schema_metadata(mark), stage / FAILURES)
    write_json(stage / MANIFEST, {**manifest, "shards": shards})
    with writing(folder):
        stage.rename(folder / COMMIT)
    finish_commit(folder)
    counted = {shard["file"] for shard in shards}
    for path in (folder / VECTORS).iterdir():
        if path.name not in counted:
            path.unlink()


def fixed_size_list(vectors: npt.NDArray[Any]) -> pa.FixedSizeListArray:
    """`[n, D]` as an Arrow column of lists of D."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), vectors.shape[1])


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    unit = np.array(vectors, dtype=np.float32)
    if unit.ndim != 2 or not unit.size:
        raise ArgumentError(f"vectors of shape {unit.shape}; give [N, D] with at least one row")
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    if not (np.isfinite(length) & (length > 0)).all():
        bad = int(np.flatnonzero(~(np.isfinite(length) & (length > 0)))[0])
        raise ArgumentError(f"vector {bad} is zero or not finite")
    return unit / length


def _imported_before(folder: Path, dim: int) -> dict[str, Any] | None:
    """The manifest of a collection that `import_vectors` may replace; None in an empty folder."""
    if not (folder / MANIFEST).exists():
        if visible_names(folder):
            raise OutputError(f"{folder} exists with other content; choose a new folder")
        return None
    manifest = read_manifest(folder)
    if manifest["encoder"]["fingerprint"] != IMPORTED or manifest["dim"] != dim:
        raise OutputError(f"{folder} holds a collection of other vectors; choose a new folder")
    return manifest


def _items(ids: npt.NDArray[np.int64], paths: Sequence[str], labels: Sequence[str | None] | None) -> pa.Table:
    """An item table that knows only ids, paths and labels."""
    items = as_items(pa.table({"id": ids, "path": pa.array(paths, pa.string())}))
    label = pa.nulls(len(ids), pa.string()) if labels is None else pa.array(labels, pa.string())
    return items.append_column("label", label)
