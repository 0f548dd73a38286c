"""What changed between a collection and its source, and the collection that comes of it.

A picture with the same path, size and time of change is not read again. A file that was read and has the content of
one that is gone from its place (renamed, moved, touched) takes over its id and its vector. The rest is embedded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from cpchub.errors import BrokenImageError
from cpchub.images.decode import read_bytes
from cpchub.images.sources import Picture

Row = dict[str, Any]

ITEM_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("label", pa.string()),
    ]
)


@dataclass(frozen=True)
class Counts:
    """What one run of `embed` did, in pictures."""

    unchanged: int = 0
    added: int = 0
    renamed: int = 0
    removed: int = 0
    broken: int = 0

    def sentence(self) -> str:
        """For a person: what happened, leaving out what did not."""
        parts = [f"{self.added:,} embedded"]
        parts += [
            f"{number:,} {what}" for what in ("unchanged", "renamed", "removed") if (number := getattr(self, what))
        ]
        if self.broken:
            parts.append(f"{self.broken:,} could not be read (listed in failures.parquet)")
        return ", ".join(parts)


class Plan:
    """Which items stay as they are, which files have to be read, and which items are without a file for now."""

    def __init__(self, items: pa.Table | None, pictures: Sequence[Picture]) -> None:
        known: list[Row] = [] if items is None else items.to_pylist()
        by_path = {item["path"]: item for item in known}
        self.known = {item["id"]: item["path"] for item in known}
        self.kept: list[Row] = []
        self.to_read: list[Picture] = []
        for picture in pictures:
            item = by_path.get(picture.path)
            if item and (item["size"], item["mtime_ns"]) == (picture.size, picture.mtime_ns):
                self.kept.append(item)
                del by_path[picture.path]
            else:
                self.to_read.append(picture)
        self._loose: dict[str, list[Row]] = {}
        for item in by_path.values():
            self._loose.setdefault(item["sha256"], []).append(item)

    def may_be_known(self, sha256: str) -> bool:
        """Whether an item that lost its file had this content; safe to ask from any thread."""
        return sha256 in self._loose

    def claim(self, picture: Picture, sha256: str) -> Row | None:
        """The item whose content moved to this picture, handed out once; the one of the same path comes first."""
        candidates = self._loose.get(sha256, [])
        for item in candidates:
            if item["path"] == picture.path:
                candidates.remove(item)
                return item
        return candidates.pop(0) if candidates else None

    def release(self, item_id: int, sha256: str) -> None:
        """Take an item off the list of those without a file: an earlier, killed run has claimed it."""
        self._loose[sha256] = [item for item in self._loose.get(sha256, []) if item["id"] != item_id]


def shares_content(root: Path, pictures: Sequence[Picture], known: Iterable[Row]) -> bool:
    """Whether any of the pictures below `root` is, byte for byte, one of the known ones; stops at the first that is."""
    contents = {(row["size"], row["sha256"]) for row in known}
    sizes = {size for size, _ in contents}
    for picture in pictures:
        if picture.size in sizes:  # others need not be read
            try:
                data = read_bytes(root / picture.path)
            except BrokenImageError:
                continue
            if (len(data), hashlib.sha256(data).hexdigest()) in contents:
                return True
    return False


def items_table(rows: list[Row], labels: str | None) -> pa.Table:
    """The rows as `items.parquet`, by id; with `labels="folders"` the first folder of a path is its label."""
    rows = sorted(rows, key=lambda row: row["id"])
    if labels == "folders":
        rows = [{**row, "label": folder_label(row["path"])} for row in rows]
    return pa.Table.from_pylist(rows, schema=ITEM_SCHEMA)


def folder_label(path: str) -> str | None:
    """The class of `class/…/picture.jpg`; None for a picture that lies outside any folder."""
    parts = PurePosixPath(path).parts
    return parts[0] if len(parts) > 1 else None
