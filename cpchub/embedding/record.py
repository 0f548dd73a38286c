"""The record of a job: its source, encoder and part; and whether an output folder holds work of the same job."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cpchub.catalog.spec import ModelSpec
from cpchub.collection.collection import Collection
from cpchub.collection.items import Row
from cpchub.collection.manifest import check_same_encoder
from cpchub.embedding.changes import shares_content
from cpchub.embedding.pending import Pending
from cpchub.errors import OutputError
from cpchub.media.rules import Rules
from cpchub.media.sources import ListedImage, Source, is_gone


def job_record(
    spec: ModelSpec, source: Source, rules: Rules, old: Collection | None, dtype: str, part: dict[str, Any] | None
) -> dict[str, Any]:
    """What is recorded of a job when it starts, and goes into the manifest when it is done."""
    return {
        "generation": old.manifest["generation"] + 1 if old else 1,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": source.location,
        "source_kind": source.kind,
        "rules": rules.recorded(),
        "dtype": dtype,
        "encoder": {
            "name": spec.name,
            "fingerprint": spec.fingerprint,
            "weights_sha256": spec.weights_sha256,
            "repo_id": spec.repo_id if spec.status == "hub" else None,
            "revision": spec.revision,
            "folder": str(spec.folder.resolve()) if spec.status == "local" and spec.folder else None,
            "transform": spec.transform,
        },
        **({"part": part} if part else {}),
    }


def check_same_job(
    out: Path,
    recorded: Iterable[dict[str, Any]],
    spec: ModelSpec,
    source: Source,
    images: list[ListedImage],
    part: dict[str, Any] | None,
    known: Iterable[Row],
) -> None:
    """Refuse another encoder, another part, and another source unless it is the first one moved.

    recorded: manifest and job of `out`, where it has them. known: size and sha256 of the images that are embedded.
    """
    for record in recorded:
        check_same_encoder(out, record["encoder"], spec)
        if _which(record.get("part")) != _which(part):
            raise OutputError(
                f"{out} holds {_which(record.get('part'))} of {record['source']}, not {_which(part)}; choose another "
                "output folder"
            )
        if record["source"] == source.location:
            continue
        holds = f"{out} holds the images of {record['source']}"
        if not is_gone(record["source"]):
            raise OutputError(f"{holds}; choose another output folder for {source.location}")
        known = list(known)
        if known and not shares_content(source, images, known):
            raise OutputError(
                f"{holds}, which is gone, and none of them is in {source.location}; choose another output folder for "
                f"those, or delete {out} if its images are no longer wanted"
            )


def known_contents(old: Collection | None, pending: Pending) -> Iterable[Row]:
    """Size and sha256 of every image that is embedded, also by a run that was stopped."""
    columns = ["size", "sha256"]
    for table in [*([old.items.select(columns)] if old else []), *pending.shards(columns)]:
        yield from table.to_pylist()


def _which(part: dict[str, Any] | None) -> str:
    return f"part {part['number']}/{part['count']}" if part else "all images"
