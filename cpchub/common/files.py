"""Files that are there complete or not at all, and a full disk that says so."""

from __future__ import annotations

import errno
import json
import os
import shutil
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cpchub.errors import NO_WINDOWS, CpchubError, CpchubWarning, DependencyError, NoSpaceError, OutputError

try:
    import fcntl
except ModuleNotFoundError as missing:
    raise DependencyError(NO_WINDOWS) from missing

PARTIAL = ".partial"  # ends the names of files that are being written

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path` to write to; on success it is flushed to disk and renamed to `path`.

    On failure the temporary file is removed and what stood at `path` before still stands.

    Raises NoSpaceError when the disk is full, OutputError when the file cannot be written.
    """
    path = path.absolute()  # pyarrow would take the beginning of `~backup/items.parquet` for somebody's home
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


def expanded(path: str | Path) -> Path:
    """A path as a person writes it: `~` at its beginning is the home folder, while `~backup` is a name like any other.

    pathlib takes that for the home of a user of this name, and raises where there is none. pyarrow does the same to
    every path that begins so, which is why an absolute one is given.
    """
    path = Path(path)
    with suppress(RuntimeError):  # a user without a home folder, as in some containers
        path = path.expanduser() if path.parts[:1] == ("~",) else path
    return path.absolute() if str(path).startswith("~") else path


def cache_folder() -> Path:
    """`XDG_CACHE_HOME`, else `.cache` in the home folder. Raises OutputError where there is neither."""
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(given) if given else Path.home() / ".cache"
    except RuntimeError as error:
        raise OutputError(
            "this user has no home folder to keep a cache in; set HOME or XDG_CACHE_HOME to a folder"
        ) from error


def visible_names(folder: Path) -> list[str]:
    """What a folder holds, sorted; names with a dot (.DS_Store, .git) are the system's or other tools' and left out."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def check_free(
    folder: Path,
    *,
    known: Collection[str] = (),
    way_out: str = "choose a new folder",
    error: type[CpchubError] = OutputError,
) -> None:
    """Raise `error` where `folder` is a file, or holds anything but the names in `known`.

    Names with a dot do not count, as in `visible_names`. The message ends with `way_out`.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise error(f"{folder} is a file; {way_out}")
    with writing(folder):
        others = [name for name in visible_names(folder) if name not in known]
    if others:
        shown = ", ".join([*others[:3], *(["..."] if len(others) > 3 else [])])
        raise error(f"{folder} exists with other content ({shown}); {way_out}")


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


NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of file systems that cannot lock, some of a network


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder against other writers; the system lets go of it when the process ends, however it ends.

    On a file system that cannot lock a warning says that nothing holds other writers off.

    Raises OutputError while another process holds it.
    """
    with writing(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            held = locked(handle, wait=False)
        except BlockingIOError as error:
            raise OutputError(f"another process is writing to {folder}; wait for it, or stop it") from error
        except OSError as error:
            raise OutputError(f"{folder} cannot be locked against other writers: {error.strerror or error}") from error
        if not held:
            warnings.warn(
                f"the file system of {folder} cannot lock; see to it that no other process writes there meanwhile",
                CpchubWarning,
                stacklevel=4,
            )
        yield
    finally:
        os.close(handle)


def locked(handle: int, *, wait: bool) -> bool:
    """Lock an open file or folder for this process; False on a file system that cannot lock.

    Raises BlockingIOError without `wait` while another process holds it, OSError for what else goes wrong.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    return True


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
