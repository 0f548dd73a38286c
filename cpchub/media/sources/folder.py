"""A folder of picture files, on this machine or in a bucket."""

from __future__ import annotations

from pathlib import Path

from cpchub.common.files import expanded
from cpchub.errors import SourceError
from cpchub.media.rules import NO_RULES, Rules
from cpchub.media.sources.base import PICTURE_SUFFIXES, Listing, Picture, StoredFile, refuse_unnamed
from cpchub.media.sources.storage import Disk, Storage


class FolderSource:
    """Every picture below a place, by the ends of the names; `files` saves listing it a second time."""

    kind = "folder"

    def __init__(self, storage: Storage, files: list[StoredFile] | None = None) -> None:
        self.storage, self._files = storage, files

    @property
    def location(self) -> str:
        return self.storage.location

    def listing(self) -> Listing:
        files, self._files = self._files, None  # listed once: it may change from now on, and it can be long
        found = self.storage.files(PICTURE_SUFFIXES).files if files is None else files
        return refuse_unnamed(_pictures(found, self.location))

    def read(self, picture: Picture) -> bytes:
        return self.storage.read(picture.path)


def find_images(folder: str | Path, *, skip: Path | None = None, rules: Rules = NO_RULES) -> list[Picture]:
    """Every picture below a folder, by extension, sorted by path; `skip` is a folder not to enter.

    What is taken is what `walk` and the rules say: no hidden files, no folders of systems, no link out of the folder.

    Raises SourceError where the folder is missing, it or a folder below it cannot be listed, or it holds no pictures.
    """
    root = expanded(folder)
    found = Disk(root, skip, rules).files(PICTURE_SUFFIXES)
    if found.unlisted:
        path, reason = min(found.unlisted.items())
        raise SourceError(f"cannot list the folder {root / path}: {reason}")
    return _pictures(found.files, str(root))


def _pictures(files: list[StoredFile], location: str) -> list[Picture]:
    if not files:
        kinds = " ".join(sorted(suffix[1:] for suffix in PICTURE_SUFFIXES))
        raise SourceError(f"no pictures in {location} or the folders below it (looked for: {kinds})")
    return [Picture(file.path, file.size, file.mtime_ns, file.etag) for file in files]
