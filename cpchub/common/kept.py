"""Folders that are kept in the user's cache, under a limit in bytes: what can be made again, but takes a while.

An entry is a folder. It appears whole or not at all, and one process makes it while others wait for it. When the
entries together are larger than the limit, those that were not used for the longest time go.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cpchub.common.files import cache_folder, expanded, locked, writing

MAKING, DROPPED = ".making-", ".dropped-"  # names of what is not an entry yet, and of what is none any more
LOCK = ".lock"


def own_cache(name: str) -> Path:
    """`CPCHUB_CACHE/name`, or `$XDG_CACHE_HOME/cpchub/name` where that is not set.

    Raises OutputError for a user without a home folder.
    """
    given = os.environ.get("CPCHUB_CACHE")
    return (expanded(given) if given else cache_folder() / "cpchub") / name


def kept_images() -> Kept:
    """The cache of smaller copies of images, made while training; each run has a limit of its own for it.

    Raises OutputError for a user without a home folder.
    """
    return Kept(own_cache("images"), sys.maxsize)


@dataclass(frozen=True)
class Entry:
    """A kept folder, what it takes on the disk, and when it was last used, in seconds since 1970."""

    folder: Path
    bytes: int
    used: float


@dataclass(frozen=True)
class Kept:
    """The entries in `folder`, which together may take `limit` bytes."""

    folder: Path
    limit: int

    def find(self, key: str) -> Path | None:
        """The folder of an entry, which counts as used now; None where there is none."""
        entry = self.folder / key
        try:
            os.utime(entry)
        except FileNotFoundError:
            return None
        except OSError:  # somebody else's, or a disk that cannot be written: it can still be read
            return entry if entry.is_dir() else None
        return entry

    def make(self, key: str, fill: Callable[[Path], None]) -> Path:
        """The folder of an entry. Where there is none, `fill` writes its files into an empty folder first.

        What `fill` raises goes on, and leaves nothing. Raises OutputError and NoSpaceError where the cache cannot be
        written.
        """
        with self._locked():
            if found := self.find(key):
                return found
            with writing(self.folder):
                making = Path(tempfile.mkdtemp(dir=self.folder, prefix=MAKING))
            try:
                fill(making)
                with writing(self.folder):
                    making.replace(self.folder / key)
            finally:
                shutil.rmtree(making, ignore_errors=True)
            self._trim(key)
        return self.folder / key

    def drop(self, key: str) -> None:
        """Remove an entry, if there is one; whoever has its files open can go on reading them."""
        with suppress(FileNotFoundError), writing(self.folder):
            dropped = Path(tempfile.mkdtemp(dir=self.folder, prefix=DROPPED))
            with suppress(FileNotFoundError):
                (self.folder / key).rename(dropped / key)
            shutil.rmtree(dropped, ignore_errors=True)

    def entries(self) -> list[Entry]:
        """All entries, the last used first."""
        found = []
        for folder in self.folder.glob("[!.]*") if self.folder.is_dir() else []:
            with suppress(OSError):  # another process has just removed it
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                found.append(Entry(folder, size, folder.stat().st_mtime))
        return sorted(found, key=lambda entry: -entry.used)

    def clear(self) -> list[Entry]:
        """Remove all entries; those that were removed."""
        if not self.folder.is_dir():
            return []
        with self._locked():
            removed = self.entries()
            for entry in removed:
                self.drop(entry.folder.name)
        return removed

    def _trim(self, newest: str) -> None:
        """Keep to the limit. The entry that was just made stays, also where it is larger than the limit."""
        total = 0
        for entry in sorted(self.entries(), key=lambda entry: entry.folder.name != newest):
            total += entry.bytes
            if total > self.limit and entry.folder.name != newest:
                self.drop(entry.folder.name)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the cache against other processes that make entries; what a killed one has left is removed."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / LOCK).open("w")
        with lock:
            if locked(lock.fileno(), wait=True):
                for prefix in (MAKING, DROPPED):
                    for left in self.folder.glob(f"{prefix}*"):
                        shutil.rmtree(left, ignore_errors=True)
            yield
