"""What every source of images gives: a listing that tells what changed, and the bytes of each image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp"})
IMAGE_SUFFIXES = JPEG_SUFFIXES | {".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif"}
PATH = "path"  # the column that user columns are joined by


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file: its path below the source with `/` between parts, bytes, and marks that change when it is rewritten.

    mtime_ns: time of last change, where there is a clock to trust. etag: a store's own mark of the content's version.
    A source that has neither is read again by every run, and then the content decides.
    """

    path: str
    size: int | None
    mtime_ns: int | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class ListedImage(StoredFile):
    """An image in a source; `path` is its name there and stays the same from run to run.

    place: for an image that is not a file of its own, the file that holds it and where in it (byte or row).
    """

    place: tuple[str, int] | None = None


@dataclass(frozen=True)
class Listing:
    """What a source holds.

    columns: what else is known about the images, `path` first. failures: path, reason. unlisted: paths of folders,
    shards and files that are there and could not be looked into: what was known of them before still holds.
    row_groups: of each Parquet file the first rows of its row groups, which are read as a whole.
    notes: sentences for a person about what was passed over, and how to take it in.
    """

    images: list[ListedImage]
    columns: pa.Table | None = None
    failures: list[dict[str, Any]] = field(default_factory=list)
    unlisted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    row_groups: Mapping[str, Sequence[int]] = field(default_factory=dict)


class Source(Protocol):
    """A place that images come from. It can be sent to another process, and is read from several threads."""

    kind: str  # "folder", "list", "tar", "parquet" or "datasets"; for the record

    @property
    def location(self) -> str:
        """Where it is, for the record: the same place has the same location in every run."""

    def listing(self) -> Listing:
        """Every image, sorted by path. Raises SourceError where the place cannot be listed or holds none."""

    def read(self, image: ListedImage) -> bytes:
        """The encoded image. Raises BrokenImageError with the bare reason where it is not to be had."""


def is_text(path: str) -> bool:
    """Whether a path can be stored as text; file names are bytes, and some are not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_text(path: str) -> str:
    """A path as it can be stored and printed, whatever bytes it has."""
    return path.encode(errors="backslashreplace").decode()


def suffix_of(name: str) -> str:
    """The end of a name with its dot, in small letters; empty for a name that only begins with a dot."""
    stem, dot, end = name.rpartition(".")
    return f".{end.lower()}" if dot and stem and "/" not in end else ""


def is_below(path: str, places: Collection[str]) -> bool:
    """Whether a path is one of `places` or lies in one."""
    if not places:
        return False
    parts = path.split("/")
    return any("/".join(parts[:depth]) in places for depth in range(1, len(parts) + 1))


def refuse_unnamed(images: list[ListedImage]) -> Listing:
    """The listing of files, those whose names are no text among its failures."""
    named = [image for image in images if is_text(image.path)]
    refused = [
        {
            PATH: as_text(image.path),
            "reason": "the file name is not valid UTF-8; rename the file",
        }
        for image in images
        if not is_text(image.path)
    ]
    return Listing(named, failures=refused)
