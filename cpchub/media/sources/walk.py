"""Every file below a folder of this machine, once: real folders first, then what only a link leads to."""

from __future__ import annotations

import heapq
import os
from collections.abc import Collection
from pathlib import Path
from stat import S_ISREG

from cpchub.errors import SourceError
from cpchub.media.rules import Rules
from cpchub.media.sources.base import StoredFile, suffix_of
from cpchub.media.sources.found import Found


def walk(root: Path, suffixes: Collection[str], rules: Rules, skip: Path | None = None) -> Found:
    """The files below `root` whose names end so; `skip` is a folder not to enter.

    Hidden files and folders are left out. A file has the path of the folder that it really lies in; a link to a folder
    counts where that folder would not be met otherwise, and a link out of `root` only where the rules say so. A folder
    that cannot be listed is told, and the rest is taken.

    Raises SourceError where `root` is no folder or cannot be listed.
    """
    if not root.is_dir():
        raise SourceError(f"no folder of images at {root}" + (": that is a file" if root.exists() else ""))
    walked = _Walk(root, suffixes, rules, skip)
    walked.found.files.sort(key=lambda file: file.path)
    return walked.found


class _Walk:
    """One look through a folder. Paths are those below the root; those of folders end with a slash."""

    def __init__(self, root: Path, suffixes: Collection[str], rules: Rules, skip: Path | None) -> None:
        self.suffixes, self.rules, self.found = suffixes, rules, Found()
        self.real_root = os.path.realpath(root)
        self.seen: set[tuple[int, int]] = set()  # folders that were entered
        self.links: list[tuple[str, str]] = []  # path of a link to a folder, and where it leads
        if skip is not None and skip.exists():
            self.seen.add(_identity(str(skip)))
        self._below(str(root), "")
        while self.links:
            path, target = heapq.heappop(self.links)  # of two links to one place, always the same
            if not self._real_is_left_out(target):
                self._below(target, f"{path}/")

    def _below(self, folder: str, path: str) -> None:
        waiting = [(folder, path)]
        while waiting:
            folder, path = waiting.pop()
            try:
                identity = _identity(folder)
                if identity in self.seen:
                    continue
                self.seen.add(identity)
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if not entry.name.startswith(".") and self._is_folder(entry, path):
                            waiting.append((entry.path, f"{path}{entry.name}/"))
            except OSError as error:
                if not path:  # nothing of the place is known, and all images would look removed
                    raise SourceError(f"cannot list the folder {folder}: {error.strerror or error}") from error
                self.found.trouble(path.rstrip("/"), "the folder cannot be listed", error)

    def _is_folder(self, entry: os.DirEntry[str], parent: str) -> bool:
        """Whether to go into an entry; a file is taken, a link to a folder is kept for later."""
        path = f"{parent}{entry.name}"
        try:
            is_link, is_folder = entry.is_symlink(), entry.is_dir()
            if (pattern := self.rules.pattern_of(path)) is not None:
                self.found.leave_out(pattern, by_pattern=True)
            elif is_folder and self.rules.is_system(entry.name):
                self.found.leave_out(entry.name, by_pattern=False)
            elif is_link and not self._may_follow(entry, path, is_folder):
                return False
            elif not is_folder:
                self._take(entry, path)
            elif is_link:
                heapq.heappush(self.links, (path, os.path.realpath(entry.path)))
            else:
                return True
        except OSError as error:
            self.found.trouble(path, "it cannot be looked at", error)
        return False

    def _may_follow(self, entry: os.DirEntry[str], path: str, is_folder: bool) -> bool:
        """Whether a link leads to a place that is there and may be shown."""
        target = os.path.realpath(entry.path, strict=True)
        if self.rules.follow_links or self._is_inside(target):
            return True
        if is_folder or suffix_of(entry.name) in self.suffixes:
            self.found.outside.append(path)
        return False

    def _is_inside(self, target: str) -> bool:
        return target == self.real_root or target.startswith(self.real_root.rstrip(os.sep) + os.sep)

    def _real_is_left_out(self, target: str) -> bool:
        """Whether a link leads to what the rules leave out under its own name."""
        inside = self._is_inside(target) and target != self.real_root
        return inside and self.rules.left_out(f"{os.path.relpath(target, self.real_root)}/") is not None

    def _take(self, entry: os.DirEntry[str], path: str) -> None:
        if suffix_of(entry.name) not in self.suffixes:
            self.found.pass_over(entry.name)
            return
        stat = entry.stat()
        if S_ISREG(stat.st_mode):  # a pipe would never end
            self.found.files.append(StoredFile(path, stat.st_size, stat.st_mtime_ns))


def _identity(folder: str) -> tuple[int, int]:
    stat = Path(folder).stat()
    return stat.st_dev, stat.st_ino
