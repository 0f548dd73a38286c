"""Files that are there complete or not at all, and a full disk that says so."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cpchub.errors import NoSpaceError, OutputError

PARTIAL = ".partial"  # ends the names of files that are being written

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path` to write to; on success it is flushed to disk and renamed to `path`.

    On failure the temporary file is removed and what stood at `path` before still stands.

    Raises NoSpaceError when the disk is full, OutputError when the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with writing(path):
        try:
            yield partial
            _flush(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's error about writing into ours, naming `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NoSpaceError(
                f"no space left on the disk of {path}. What was complete is kept: "
                "make room, run the same command again, and it goes on from there"
            ) from error
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
