"""Small copies of a collection's images, made when first asked for and kept in a cache folder.

The page serves these and nothing else: the images themselves never become reachable over the network.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from cpchub.collection.collection import Collection
from cpchub.common.files import cache_folder
from cpchub.errors import BrokenImageError, OutputError, SourceError
from cpchub.media.decode import read_image

TILE = 320  # longest side in pixels: a tile is at most 160 CSS pixels wide, and screens have two pixels to one
PREVIEW = 960
LOSSLESS_UP_TO = 128  # lossy compression shows on images that are drawn larger than they are
THREADS = 4
MOST_AHEAD = 200  # tiles that wait to be made before anybody asked


class Thumbnails:
    """Thumbnails of `collection` under `folder` (by default in the user's cache folder)."""

    def __init__(self, collection: Collection, folder: Path | None = None) -> None:
        self.collection = collection
        self.folder = folder if folder is not None else default_folder(collection)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._facts = [collection.mapped_items[name] for name in ("path", "size", "mtime_ns")]
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="thumbnails")
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="thumbnails-ahead")
        self._waiting: deque[Future[Path | None]] = deque()

    def tile(self, row: int) -> Path | None:
        """The thumbnail of image `row`, at most 320 pixels; None if it is gone or broken, or cannot be written."""
        return self._make(row, TILE)

    def preview(self, row: int) -> Path | None:
        """Image `row` at most 960 pixels large, for the large view; None if it is gone or broken."""
        return self._make(row, PREVIEW)

    def prepare(self, rows: Iterable[int]) -> None:
        """Make the tiles of rows in the background, one after the other; the oldest of too many are given up."""
        for row in rows:
            if not self._place(row, TILE).exists():
                self._waiting.append(self._ahead.submit(self.tile, row))
        while self._waiting and (len(self._waiting) > MOST_AHEAD or self._waiting[0].done()):
            self._waiting.popleft().cancel()

    def url(self, row: int) -> str:
        """Where the page finds the tile of image `row`: relative, so that it works behind a proxy's prefix.

        The image is made when a browser asks. The address changes with the image, so browsers may keep what they got.
        """
        return f"page/thumb/{row}?v={self.version(row)}"

    def preview_url(self, row: int) -> str:
        """Where the page finds image `row` at up to 960 pixels."""
        return f"page/preview/{row}?v={self.version(row)}"

    def version(self, row: int) -> str:
        """A short text that is another one when another image, or a changed one, is in this row."""
        return self._key(row)[:8]

    def kept(self, row: int, size: int) -> bytes | None:
        """The encoded thumbnail of image `row`, if it has been made."""
        try:
            return self._place(row, size).read_bytes()
        except OSError:
            return None

    def made(self, row: int, size: int) -> bytes | None:
        """The encoded thumbnail of image `row`, made if need be; None if it is gone or broken."""
        return None if self._make(row, size) is None else self.kept(row, size)

    def _key(self, row: int) -> str:
        path, size, mtime_ns = (column[row].as_py() for column in self._facts)
        return hashlib.sha256(f"{path}\0{size}\0{mtime_ns}".encode()).hexdigest()[:24]

    def _place(self, row: int, size: int) -> Path:
        return self.folder / f"{self._key(row)}-{size}.webp"

    def _make(self, row: int, size: int) -> Path | None:
        target = self._place(row, size)
        if target.exists():
            return target
        try:
            image = read_image(self.collection.image(row), size=size)
        except (BrokenImageError, SourceError, OSError):
            return None
        lossless = max(image.size) <= LOSSLESS_UP_TO
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)  # a cache may be cleared while the page runs
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
        except OSError:
            return None
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                image.save(file, "WEBP", lossless=lossless, quality=84)
            part.replace(target)  # two visitors may ask for the same one at the same time
        except OSError:  # a full disk
            part.unlink(missing_ok=True)
            return None
        return target


def default_folder(collection: Collection) -> Path:
    """`$XDG_CACHE_HOME/cpchub/thumbnails/<collection>`; one folder for each collection folder.

    Where that cannot be made, a private folder under the temporary directory takes its place.
    """
    name = hashlib.sha256(str(collection.source.resolve()).encode()).hexdigest()[:16]
    try:
        folder = cache_folder() / "cpchub" / "thumbnails" / name
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, OutputError):  # a read-only home or none, as in many containers
        folder = _private_folder() / name
        folder.mkdir(exist_ok=True)
    return folder


def _private_folder() -> Path:
    """A folder under the temporary directory that nobody else can read or write.

    Every user writes there, and the usual name is easy to guess: whoever took it first could read the thumbnails, or
    put images of their own among them. A folder that is not ours alone is left to its owner, for a fresh one.
    """
    usual = Path(tempfile.gettempdir()) / f"cpchub-{os.getuid()}"
    try:
        usual.mkdir(mode=0o700)
    except FileExistsError:
        if not _is_ours_alone(usual):
            return Path(tempfile.mkdtemp(prefix=f"{usual.name}-"))
    return usual


def _is_ours_alone(folder: Path) -> bool:
    facts = folder.lstat()  # not through a link, which could be turned elsewhere later
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and stat.S_IMODE(facts.st_mode) == 0o700
