"""Files that are there complete or not at all, and a full disk that says so."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def save_tensors(tensors: dict[str, Any], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file that whoever may read new files here may read."""
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, path, metadata=metadata)
    path.chmod(mode)  # safetensors makes it readable by its owner alone


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people to read, complete or not at all; raises as `replacing` does."""
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8: only an escape can stand for its bytes
        text = json.dumps(content, indent=2).encode()
    with replacing(path) as partial:
        partial.write_bytes(text + b"\n")


def visible_names(folder: Path) -> list[str]:
    """What a folder holds, sorted; names with a dot (.DS_Store, .git) are the system's or other tools' and left out."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def put_in_place(complete: Path, folder: Path) -> None:
    """Move a complete folder to where an earlier one may be; the names with a dot in that one go over to it.

    The earlier one is renamed, and removed only when the complete one stands in its place. Raises OSError.
    """
    if not folder.exists():
        complete.replace(folder)
        return
    if folder.is_symlink():
        raise OSError(errno.EINVAL, "it is a link to a folder; name that folder itself")
    for path in folder.iterdir():
        if path.name.startswith("."):
            path.replace(complete / path.name)
    earlier = complete.with_name(f"{complete.name}.earlier")
    folder.replace(earlier)
    complete.replace(folder)
    shutil.rmtree(earlier)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder against other writers; the system lets go of it when the process ends, however it ends.

    Raises OutputError while another process holds it.
    """
    with writing(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"another process is writing to {folder}; wait for it, or stop it") from error
        yield
    finally:
        os.close(handle)


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
