"""A folder of image files, on this machine or in a bucket."""

from __future__ import annotations

from pathlib import Path

from cpchub.common.files import expanded
from cpchub.errors import SourceError
from cpchub.media.rules import NO_RULES, Rules
from cpchub.media.sources.base import IMAGE_SUFFIXES, ListedImage, Listing, StoredFile, refuse_unnamed
from cpchub.media.sources.storage import Disk, Storage


class FolderSource:
    """Every image below a place, by the ends of the names; `files` saves listing it a second time."""

    kind = "folder"

    def __init__(self, storage: Storage, files: list[StoredFile] | None = None) -> None:
        self.storage, self._files = storage, files

    @property
    def location(self) -> str:
        return self.storage.location

    def listing(self) -> Listing:
        files, self._files = self._files, None  # listed once: it may change from now on, and it can be long
        found = self.storage.files(IMAGE_SUFFIXES).files if files is None else files
        return refuse_unnamed(_images(found, self.location))

    def read(self, image: ListedImage) -> bytes:
        return self.storage.read(image.path)


def find_images(folder: str | Path, *, skip: Path | None = None, rules: Rules = NO_RULES) -> list[ListedImage]:
    """Every image below a folder, by extension, sorted by path; `skip` is a folder not to enter.

    What is taken is what `walk` and the rules say: no hidden files, no folders of systems, no link out of the folder.

    Raises SourceError where the folder is missing, it or a folder below it cannot be listed, or it holds no images.
    """
    root = expanded(folder)
    found = Disk(root, skip, rules).files(IMAGE_SUFFIXES)
    if found.unlisted:
        path, reason = min(found.unlisted.items())
        raise SourceError(f"cannot list the folder {root / path}: {reason}")
    return _images(found.files, str(root))


def _images(files: list[StoredFile], location: str) -> list[ListedImage]:
    if not files:
        kinds = " ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise SourceError(f"no images in {location} or the folders below it (looked for: {kinds})")
    return [ListedImage(file.path, file.size, file.mtime_ns, file.etag) for file in files]
