"""What pictures a folder holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cpchub.errors import SourceError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True)
class Picture:
    """A picture file: its path below the folder with `/` between parts, bytes, and time of last change."""

    path: str
    size: int
    mtime_ns: int


def find_images(folder: str | Path, *, skip: Path | None = None) -> list[Picture]:
    """Every picture below a folder, by extension, sorted by path.

    Hidden files and folders are left out, links are followed once, and `skip` is a folder not to enter.

    Raises SourceError where the folder is missing, cannot be listed, or holds no pictures.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise SourceError(f"no folder of pictures at {root}" + (": that is a file" if root.exists() else ""))
    seen = set() if skip is None or not skip.exists() else {_identity(skip)}
    pictures: list[Picture] = []
    for parent, folders, files in os.walk(root, followlinks=True, onerror=_unlistable):
        if _identity(Path(parent)) in seen:
            folders.clear()
            continue
        seen.add(_identity(Path(parent)))
        folders[:] = [name for name in folders if not name.startswith(".")]
        pictures += [picture for name in files if (picture := _picture(root, Path(parent, name)))]
    if not pictures:
        kinds = " ".join(sorted(extension[1:] for extension in EXTENSIONS))
        raise SourceError(f"no pictures in {root} or the folders below it (looked for: {kinds})")
    return sorted(pictures, key=lambda picture: picture.path)


def _picture(root: Path, file: Path) -> Picture | None:
    if file.name.startswith(".") or file.suffix.lower() not in EXTENSIONS:
        return None
    try:
        stat = file.stat()
    except OSError:  # a dangling link, or deleted since it was listed
        return None
    return Picture(file.relative_to(root).as_posix(), stat.st_size, stat.st_mtime_ns)


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _unlistable(error: OSError) -> None:
    # to skip it would make its pictures look removed
    raise SourceError(f"cannot list the folder {error.filename}: {error.strerror}") from error
