"""Find rows of a collection that name the same file, rows that are links, and rows whose file is gone or changed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cpchub.collection.collection import Collection
from cpchub.collection.manifest import FOLDER
from cpchub.errors import QueryError
from cpchub.media.sources import is_gone


@dataclass
class Files:
    """What the disk says of some rows of a collection; nothing of images that are no files of this machine.

    names: row -> row that stands for the same file, for links and hard links to a file that the collection has as well.
    links: rows that stand for a file by a link to it, since the collection has no other name of it.
    changed: rows whose file is gone or is another one than was embedded.
    """

    names: dict[int, int] = field(default_factory=dict)
    links: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)


def files_of(collection: Collection, rows: Iterable[int]) -> Files:
    """Inspect the files of some rows. A file with several names is represented by its real name, else by the first."""
    found = Files()
    if is_gone(collection.location):
        return found
    by_identity: dict[tuple[int, int], list[int]] = {}
    sizes, times = collection.items["size"], collection.items["mtime_ns"]
    for row in rows:
        try:
            path = collection.path_of(row)
        except QueryError:  # in a tar, a table, a bucket, the web
            continue
        marks = (sizes[row].as_py(), times[row].as_py())
        try:
            stat = path.stat()
        except OSError:
            if marks[1] is not None:  # it was a file on this machine
                found.changed.add(row)
            continue
        if marks[1] is not None and marks != (stat.st_size, stat.st_mtime_ns):
            found.changed.add(row)
            continue
        if _is_link(collection, path):
            found.links.add(row)
        if stat.st_ino:  # file systems without inode numbers report 0
            by_identity.setdefault((stat.st_dev, stat.st_ino), []).append(row)
    for same in by_identity.values():
        first, *others = sorted(same, key=lambda row: (row in found.links, collection.paths[row]))
        found.names |= dict.fromkeys(others, first)
    return found


def _is_link(collection: Collection, path: Path) -> bool:
    """Whether a link lies on the way to a file; of a folder of images, on the way from that folder."""
    if collection.manifest.get("source_kind", FOLDER) == FOLDER:
        path = collection.source.resolve() / path.relative_to(collection.source)
    place = Path(os.path.normpath(path.absolute()))
    return place.resolve() != place
