"""Sort the images of a collection into one folder a class, beside the originals, which stay where they are."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from cpchub.collection.collection import Collection
from cpchub.common.files import check_free, expanded, put_in_place, writing
from cpchub.errors import BrokenImageError, SourceError

CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)
CONTROL = "".join(map(chr, range(32))) + "\x7f"


@dataclass(frozen=True)
class Sorted:
    """What was sorted: images by class, how many of them as hard links, and path -> reason of those left out."""

    classes: Mapping[str, int]
    linked: int
    left_out: Mapping[str, str]


def sort_images(collection: Collection, classes: Sequence[str], folder: str | Path) -> Sorted:
    """Put every image of a collection into a folder of its class, below `folder`, under its own path.

    classes: one for each image, in the order of the collection. A file is linked (a hard link takes no space), and
    copied where the disk is another one or cannot link; an image out of a tar, a table or a bucket is written as a
    file. The originals are never moved or changed. The folder appears whole or not at all.

    Raises OutputError where `folder` is there and not empty, NoSpaceError. An image that cannot be had any more is
    left out and told.
    """
    folder = expanded(folder)
    check_free(folder, way_out="choose a new folder for the sorted images")
    count: dict[str, int] = {}
    left_out: dict[str, str] = {}
    linked = 0
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            complete = Path(scratch) / "sorted"
            complete.mkdir()
            for row, (path, name) in enumerate(zip(collection.paths, classes, strict=True)):
                try:
                    image = collection.image(row)
                    if isinstance(image, Path) and not image.is_file():
                        raise BrokenImageError("the file is gone")
                except (BrokenImageError, SourceError) as error:
                    left_out[path] = str(error)
                    continue
                linked += _place(image, _free(complete / folder_name(name) / below(path)))
                count[name] = count.get(name, 0) + 1
            put_in_place(complete, folder)
    return Sorted(count, linked, left_out)


def folder_name(name: str) -> str:
    """A class name as the name of one folder: what cannot stand in one is written as in a URL, so no two are alike."""
    unsafe = {*CONTROL, *'/\\:*?"<>|%'}
    safe = "".join(quote(letter, safe="") if letter in unsafe else letter for letter in name)
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe


def below(path: str) -> PurePosixPath:
    """The path of an image as one that leads nowhere else: without a root, a protocol, `.` and `..`."""
    parts = [part for part in PurePosixPath(path.replace("://", "/")).parts if part not in ("/", "//", ".", "..")]
    return PurePosixPath(*parts) if parts else PurePosixPath("image")


def _free(target: Path) -> Path:
    """The target itself, or with a number where two paths came to be the same."""
    number, free = 1, target
    while free.exists() or free.is_symlink():
        number += 1
        free = target.with_name(f"{target.stem} ({number}){target.suffix}")
    return free


def _place(image: Path | bytes, target: Path) -> bool:
    """Write or link an image; returns whether it is a hard link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        target.write_bytes(image)
        return False
    original = image.resolve()  # of a link, the file that it leads to
    try:
        os.link(original, target)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        shutil.copy2(original, target)
        return False
    return True
