"""The unfinished job of a collection in a bucket, `pending/`: which of its files a copy keeps, and which it needs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cpchub.collection.manifest import PENDING
from cpchub.collection.stored.objects import Objects, Stored

JOB_FILE = "job.json"
JOB = f"{PENDING}/{JOB_FILE}"
KNOWN = ".stored"  # beside it in the copy, where the bucket has it: once it is gone there, the job is over


def take_job(folder: Path, objects: Objects, files: Mapping[str, Stored], *, shards: bool) -> dict[str, Stored]:
    """The files that the copy lacks of the job that the bucket has; with `shards` not only its record.

    Shards in the copy that are of another job are removed. Those of a job that never came to the bucket, since it did
    not answer, stay.
    """
    pending, job = folder / PENDING, objects.read(JOB)
    here = (folder / JOB).read_bytes() if (folder / JOB).is_file() else None
    if job is None and not (pending / KNOWN).exists():
        return {}
    if job != here:
        shutil.rmtree(pending, ignore_errors=True)
    if job is None:
        return {}
    wanted = [name for name in files if name == JOB or (shards and name.startswith(f"{PENDING}/"))]
    return {name: files[name] for name in wanted if _size(folder / name) != files[name].size}


def note_known(folder: Path) -> None:
    """Note that the bucket has the record of the job that the copy has, if it has one."""
    if (folder / JOB).is_file():
        with suppress(FileNotFoundError):  # it is finished at this moment
            (folder / PENDING / KNOWN).touch()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
