"""Write a collection's new state: all of its files or none.

New vectors go beside the old ones under names of their own. Then the items, the failures and the manifest are made
ready in one folder, and renaming that folder is the moment at which the collection changes. Whoever comes next
puts the files into their places if this process no longer can.
"""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cpchub.collection import (
    COMMIT,
    FAILURE_SCHEMA,
    FAILURES,
    FORMAT,
    GENERATION,
    INDEX,
    ITEMS,
    MANIFEST,
    PENDING,
    VECTORS,
    Collection,
    finish_commit,
    read_table,
    vector_schema,
    write_table,
)
from cpchub.errors import SourceError
from cpchub.files import PARTIAL, write_json, writing
from cpchub.images.sources import Picture
from cpchub.pending import Pending, matches
from cpchub.sync import Counts, Plan, Row, items_table

VERSIONS_OF = ("cpchub", "numpy", "pillow", "pyarrow", "timm", "torch")


def finish(
    old: Collection | None, plan: Plan, pending: Pending, job: dict[str, Any], labels: str | None, failures: list[Row]
) -> Counts:
    """Make the pending shards and what is left of the old collection into the new one.

    failures: pictures that were refused before they were read. Raises SourceError where no picture is left.
    """
    merged = _Merged(plan, pending, old.manifest["next_id"] if old else 0, failures)
    if not merged.rows:
        first = merged.failures[0]
        raise SourceError(
            f"none of the {len(merged.failures):,} pictures in {job['source']} can be read; "
            f"the first, {first['path']}: {first['reason']}"
        )
    items = items_table(merged.rows, labels)
    failed = pa.Table.from_pylist(merged.failures, schema=FAILURE_SCHEMA).sort_by("path")
    unchanged = old is not None and old.manifest["source"] == job["source"]
    if not (unchanged and _same(items, old.items) and _same(failed, old.failures)):  # type: ignore[union-attr]
        manifest = _write_vectors(old, pending, job, merged, items) | {"labels": labels, "failed": failed.num_rows}
        _commit(pending, manifest, items, failed)
    return merged.counts


def sweep(collection: Collection) -> None:
    """Delete what a finished run leaves behind: its shards, vector files and an index that no longer count."""
    folder = collection.folder
    shutil.rmtree(folder / PENDING, ignore_errors=True)
    counted = {shard["file"] for shard in collection.manifest["shards"]}
    stale = [path for path in (folder / VECTORS).glob("*") if path.name not in counted]
    if not collection.manifest["search"]:
        stale.append(folder / INDEX)
    for path in (*stale, *folder.glob(f".*{PARTIAL}")):
        path.unlink(missing_ok=True)


class _Merged:
    """The items to be: those that stay, those that moved, and new ones numbered in the order of their shards."""

    def __init__(self, plan: Plan, pending: Pending, next_id: int, failures: list[Row]) -> None:
        self.rows, self.failures, self.next_id = list(plan.kept), list(failures), next_id
        self.new_ids: list[list[int | None]] = []  # for each shard, for each of its rows
        wanted = {picture.path: picture for picture in plan.to_read}
        for shard in pending.shards():
            self.new_ids.append([self._take(row, wanted) for row in shard.drop(["vector"]).to_pylist()])
        kept = {row["id"]: row["path"] for row in self.rows if row["id"] in plan.known}
        renamed = sum(path != plan.known[item_id] for item_id, path in kept.items())
        self.dropped = np.array(sorted(plan.known.keys() - kept.keys()), dtype=np.int64)
        self.counts = Counts(
            unchanged=len(kept) - renamed,
            added=self.next_id - next_id,
            renamed=renamed,
            removed=len(self.dropped),
            broken=len(self.failures),
        )

    def _take(self, row: Row, wanted: dict[str, Picture]) -> int | None:
        """Sort an outcome in; the id it gets, where its vector is a new one."""
        if not matches(row, wanted):
            return None  # changed or deleted since a run that was stopped has read it
        del wanted[row["path"]]
        if row["reason"] is not None:
            self.failures.append(row)
            return None
        if row["kept_id"] is not None:
            self.rows.append({**row, "id": row["kept_id"]})
            return None
        self.rows.append({**row, "id": self.next_id})
        self.next_id += 1
        return self.next_id - 1


def _write_vectors(
    old: Collection | None, pending: Pending, job: dict[str, Any], merged: _Merged, items: pa.Table
) -> dict[str, Any]:
    """Write the vector files that are new or lose rows, and the manifest that names them all."""
    writer = VectorWriter(pending.collection, job["generation"], pending.dim)
    for shard in old.manifest["shards"] if old else []:
        writer.keep(shard, merged.dropped)
    for shard, ids in zip(pending.shards(), merged.new_ids, strict=True):
        column = pa.array(ids, pa.int64())
        writer.add(shard.append_column("id", column).filter(column.is_valid()))
    return {
        "format": FORMAT,
        "generation": job["generation"],
        "encoder": job["encoder"],
        "dim": pending.dim,
        "normalized": True,
        "count": items.num_rows,
        "next_id": merged.next_id,
        "created": old.manifest["created"] if old else job["created"],
        "updated": job["created"],
        "versions": {name: metadata.version(name) for name in VERSIONS_OF if _installed(name)},
        "source": job["source"],
        "search": old.manifest["search"] if old else None,
        "shards": writer.shards,
    }


def _commit(pending: Pending, manifest: dict[str, Any], items: pa.Table, failures: pa.Table) -> None:
    """Replace items, failures and manifest, all or none; the vectors that the manifest names are there already."""
    stage = pending.folder / COMMIT
    with writing(stage):
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
    mark = {GENERATION: str(manifest["generation"]).encode()}
    write_table(items.replace_schema_metadata(mark), stage / ITEMS)
    write_table(failures.replace_schema_metadata(mark), stage / FAILURES)
    write_json(stage / MANIFEST, manifest)
    with writing(pending.collection):
        stage.rename(pending.collection / COMMIT)
    finish_commit(pending.collection)


class VectorWriter:
    """Writes the vector files of one generation of a collection, numbered from zero; a rerun writes the same names."""

    def __init__(self, collection: Path, generation: int, dim: int) -> None:
        self._folder, self._generation, self._schema = collection / VECTORS, generation, vector_schema(dim)
        self.shards: list[dict[str, Any]] = []
        with writing(self._folder):
            self._folder.mkdir(exist_ok=True)

    def keep(self, shard: dict[str, Any], dropped: npt.NDArray[np.int64]) -> None:
        """Carry over an older file, rewritten without the dropped ids where it holds any of them."""
        if not ((dropped >= shard["first_id"]) & (dropped <= shard["last_id"])).any():
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


def _same(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables hold the same rows; the mark of their run does not count."""
    return bool(one.equals(other.combine_chunks()))


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
