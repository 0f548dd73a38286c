"""Locking and ownership of output folders: a collection or an unfinished one, one writer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cpchub.collection.manifest import MANIFEST, PENDING, read_manifest
from cpchub.collection.stored.copy import StoredCollection
from cpchub.common.files import check_free, only_writer, visible_names, writing
from cpchub.embedding.pending import read_job


def recorded(out: Path) -> dict[str, Any]:
    """The record of the source, from the collection in `out` or from an unfinished run."""
    return read_manifest(out) if (out / MANIFEST).exists() else read_job(out) or {}


def check_is_ours(out: Path, stored: StoredCollection | None = None) -> None:
    """Raises OutputError where `out` is a file, or a folder with anything but a collection or its beginnings.

    stored: of what `out` is the copy; then the same holds for the place of that.
    """
    way_out = "choose an empty or a new folder for the collection"
    if stored is not None:
        stored.check_free(way_out, collection=True)
    if not out.is_dir():
        check_free(out, way_out=way_out)
        return
    if (out / MANIFEST).exists():
        read_manifest(out)
        return
    if read_job(out) is not None:
        return
    stopped_early = visible_names(out) == [PENDING]  # before its first file
    check_free(out / PENDING if stopped_early else out, way_out=way_out)


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Lock the output folder as its only writer. If the folder was made for this run and stays empty, it is
    removed."""
    made = not out.exists()
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        with only_writer(out):
            yield
    finally:
        if made and not any(out.iterdir()):
            out.rmdir()
