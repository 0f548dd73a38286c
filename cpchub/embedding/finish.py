"""Write the new state of a collection atomically.

New vector files get new names beside the old ones. Items, failures and manifest are prepared in one folder, and
renaming this folder is the commit. If the process is killed after that, the next one moves the files into place.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cpchub.collection.collection import Collection
from cpchub.collection.counts import Counts
from cpchub.collection.items import ITEM_SCHEMA, add_label_columns, as_items
from cpchub.collection.manifest import COMMIT, FORMAT, VECTORS
from cpchub.collection.tables import FAILURE_SCHEMA, vector_schema
from cpchub.collection.writer import VectorWriter, commit, holds_any
from cpchub.embedding.changes import Changes
from cpchub.embedding.pending import Pending, current_rows, outcome_schema
from cpchub.errors import SourceError
from cpchub.media.labels import Labels
from cpchub.media.sources.base import PATH, ListedImage, Listing
from cpchub.media.sources.columns import stacked

VERSIONS_OF = ("cpchub", "numpy", "pillow", "pyarrow", "timm", "torch")


def finish(
    old: Collection | None,
    plan: Changes,
    pending: Pending,
    job: dict[str, Any],
    labels: Labels | None,
    listing: Listing,
) -> Counts:
    """Merge the pending shards and the remaining old items into the new collection.

    Raises SourceError where no image is left.
    """
    merged = _Merged(plan, pending, old.manifest["next_id"] if old else 0)
    failed = pa.concat_tables([pa.Table.from_pylist(listing.failures, schema=FAILURE_SCHEMA), merged.failures])
    failed = failed.sort_by("path")
    if not merged.items.num_rows and not job.get("part"):  # a part may have none; `merge` looks at all of them
        first = failed.slice(0, 1).to_pylist()[0]
        raise SourceError(
            f"none of the {failed.num_rows:,} images in {job['source']} can be read; "
            f"the first, {first['path']}: {first['reason']}"
        )
    known = listing.columns
    if known is None and labels is None:  # no new labels, as in a merged collection: keep the old ones
        known = _known(plan, sorted(plan.kept))
    elif known is not None and plan.held:
        known = stacked([known, *filter(None, [_known(plan, plan.held)])])
    paths = merged.items[PATH].to_pylist()
    given = labels.columns(paths, job["source_kind"], job["source"]) if labels else None
    items = add_label_columns(merged.items, known, given)
    counts = replace(merged.counts, broken=failed.num_rows)
    facts = {
        "source": job["source"],
        "labels": labels.recorded if labels else None,
        "rules": job.get("rules"),
        "encoder": job["encoder"],
        **_part(job),
    }
    unchanged = old is not None and facts.items() <= old.manifest.items()
    if not (unchanged and _same(items, old.items) and _same(failed, old.failures)):  # type: ignore[union-attr]
        manifest = _write_vectors(old, pending, job, merged) | {"labels": facts["labels"], "failed": failed.num_rows}
        commit(pending.collection, pending.folder / COMMIT, manifest, items, failed)
    return counts


class _Merged:
    """The new items by id: unchanged ones, moved ones, and new ones numbered in the order of their shards."""

    def __init__(self, plan: Changes, pending: Pending, next_id: int) -> None:
        self.next_id = next_id
        self.new_rows: list[tuple[pa.Array, pa.Array]] = []  # for each shard, which rows are items now, and their ids
        kept, renamed, self.dropped = _kept(plan)
        wanted = {image.path: image for image in plan.to_read}
        items, failures = [kept], []
        for shard in pending.shards([name for name in outcome_schema(pending.dim).names if name != "vector"]):
            new, failed = self._sort_in(shard, wanted)
            items.append(new)
            failures.append(failed)
        self.items = pa.concat_tables(items).combine_chunks()
        self.failures = pa.concat_tables([FAILURE_SCHEMA.empty_table(), *failures])
        self.counts = Counts(
            unchanged=kept.num_rows - renamed,
            added=self.next_id - next_id,
            renamed=renamed,
            removed=len(self.dropped),
        )

    def _sort_in(self, shard: pa.Table, wanted: dict[str, ListedImage]) -> tuple[pa.Table, pa.Table]:
        """A shard's new items and its failures; images that changed since it was written are in neither."""
        rows = current_rows(shard, wanted)
        paths, reasons = shard["path"].to_pylist(), shard["reason"].to_pylist()
        for row in rows:
            del wanted[paths[row]]
        good = [row for row in rows if reasons[row] is None]
        ids = pa.array(range(self.next_id, self.next_id + len(good)), pa.int64())
        self.next_id += len(good)
        taken = pa.array(good, pa.int64())
        self.new_rows.append((taken, ids))
        items = as_items(shard.take(taken).append_column("id", ids))
        failed = shard.take(pa.array([row for row in rows if reasons[row] is not None], pa.int64()))
        return items, failed.select(FAILURE_SCHEMA.names).cast(FAILURE_SCHEMA)


def _kept(plan: Changes) -> tuple[pa.Table, int, npt.NDArray[np.int64]]:
    """The remaining items with their current paths and marks, the number of renamed ones, and the ids to remove."""
    if plan.items is None:
        return ITEM_SCHEMA.empty_table(), 0, np.zeros(0, np.int64)
    rows = sorted(plan.kept)
    images = [plan.kept[row] for row in rows]
    items = as_items(plan.items).take(pa.array(rows, pa.int64()))
    paths = [image.path for image in images]
    renamed = sum(path != before for path, before in zip(paths, items["path"].to_pylist(), strict=True))
    for name, values in (
        ("path", paths),
        ("mtime_ns", [image.mtime_ns for image in images]),
        ("etag", [image.etag for image in images]),
    ):
        index = ITEM_SCHEMA.get_field_index(name)
        items = items.set_column(index, ITEM_SCHEMA.field(index), pa.array(values, ITEM_SCHEMA.field(index).type))
    gone = np.ones(plan.items.num_rows, bool)
    gone[rows] = False
    return items, renamed, plan.items["id"].to_numpy()[gone]


def _known(plan: Changes, rows: list[int]) -> pa.Table | None:
    """The label and the user's columns of the items in some rows of `plan.kept`, by their paths as they are now."""
    if plan.items is None:
        return None
    facts = plan.items.drop([name for name in plan.items.column_names if name in ITEM_SCHEMA.names])
    return facts.take(pa.array(rows, pa.int64())).append_column(PATH, pa.array([plan.kept[row].path for row in rows]))


def _write_vectors(old: Collection | None, pending: Pending, job: dict[str, Any], merged: _Merged) -> dict[str, Any]:
    """Write the vector files that are new or lose rows, and the manifest that names them all."""
    writer = VectorWriter(pending.collection, job["generation"], vector_schema(pending.dim, pending.dtype))
    if old is not None:
        shards = old.manifest["shards"]
        old.fetch(*(f"{VECTORS}/{shard['file']}" for shard in shards if holds_any(shard, merged.dropped)))
        for shard in shards:
            writer.keep(shard, merged.dropped)
    for shard, (rows, ids) in zip(pending.shards(["vector"]), merged.new_rows, strict=True):
        writer.add(shard.take(rows).append_column("id", ids))
    return {
        "format": FORMAT,
        "generation": job["generation"],
        "encoder": job["encoder"],
        "dim": pending.dim,
        "dtype": pending.dtype,
        "normalized": True,
        "count": merged.items.num_rows,
        "next_id": merged.next_id,
        "created": old.manifest["created"] if old else job["created"],
        "updated": job["created"],
        "versions": {name: metadata.version(name) for name in VERSIONS_OF if _installed(name)},
        "source": job["source"],
        "source_kind": job["source_kind"],
        "rules": job.get("rules"),
        **_part(job),
        "search": old.manifest["search"] if old else None,
        "store": old.manifest["store"] if old else None,
        "shards": writer.shards,
    }


def _part(job: dict[str, Any]) -> dict[str, Any]:
    return {"part": job["part"]} if job.get("part") else {}


def _same(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables hold the same rows; the mark of the run is ignored."""
    return bool(one.equals(other.combine_chunks()))


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
