"""Runs of embedding with the smallest encoder, and the files and rows that they leave."""

from __future__ import annotations

from pathlib import Path

from cpchub.collection.collection import Collection
from cpchub.embedding.job import embed
from tests.cpchub.images import TinyEncoder


def run(source: Path | str, out: Path | str, encoder: TinyEncoder | None = None, **options: object) -> Collection:
    return embed(source, out, encoder or TinyEncoder(), progress=False, **{"batch_size": 4} | options)  # type: ignore[arg-type]


def files_of(out: Path) -> dict[str, bytes]:
    """Every file that holds results; the manifest also holds the time of day."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def by_path(collection: Collection) -> dict[str, tuple[int, bytes]]:
    ids = collection.items["id"].to_pylist()
    return {path: (ids[row], collection.vectors()[row].tobytes()) for row, path in enumerate(collection.paths)}
