"""Compare a collection with its source: which images are unchanged, moved, new or removed.

An image with the same path, size and modification mark is not read again. An image with the content of a missing one
(it was renamed, moved or touched) takes over its id and vector. All others are embedded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from cpchub.collection.items import Row
from cpchub.common.hashing import bytes_sha256
from cpchub.errors import BrokenImageError
from cpchub.media.sources.base import ListedImage, Source, is_below

AT_ONCE = 256  # images that are handed to the reading threads together


class Changes:
    """The unchanged items, and the images that have to be embedded.

    kept: row of the old items -> the image as it is now. to_read: the others. held: rows of `kept` in `unlisted`,
    the folders that could not be listed this time; their images may still exist. The images of all other old rows are
    gone.
    """

    def __init__(self, items: pa.Table | None, images: Sequence[ListedImage], unlisted: Collection[str] = ()) -> None:
        self.items = items
        self.held: list[int] = []
        self.kept: dict[int, ListedImage] = {}
        self.to_read: list[ListedImage] = []
        self._lost: dict[str, int] = {}  # path -> row of an item that has no image for now
        if items is None:
            self.to_read = list(images)
            return
        self._lost = {path: row for row, path in enumerate(items["path"].to_pylist())}
        sizes, times = items["size"].to_pylist(), items["mtime_ns"].to_pylist()
        etags = items["etag"].to_pylist() if "etag" in items.column_names else [None] * items.num_rows
        for image in images:
            row = self._lost.get(image.path)
            if row is not None and is_same(image, sizes[row], times[row], etags[row], unmarked=False):
                self.kept[row] = image
                del self._lost[image.path]
            else:
                self.to_read.append(image)
        places = frozenset(unlisted)
        for path, row in list(self._lost.items()):
            if is_below(path, places):
                self.kept[row] = ListedImage(path, sizes[row], times[row], etags[row])
                self.held.append(row)
                del self._lost[path]

    def may_have_moved(self, images: Iterable[ListedImage]) -> list[ListedImage]:
        """Those of the images that are as large as an item that lost its image, and whose content tells more."""
        if not self._lost or self.items is None:
            return []
        sizes = set(self.items["size"].take(pa.array(self._lost.values(), pa.int64())).to_pylist())
        return [image for image in images if image.size is None or image.size in sizes]

    def find_moved(
        self,
        source: Source,
        candidates: Sequence[ListedImage],
        workers: int,
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        """Read the candidates, give the items that lost their images to those of the same content, and take these
        off `to_read`.

        The one of the same path comes first, then the order of the paths. advance: called for each that was read.
        """
        if not candidates or self.items is None:
            return
        rows = sorted(self._lost.values())
        by_content: dict[str, list[int]] = {}
        for row, sha256 in zip(rows, self.items["sha256"].take(pa.array(rows, pa.int64())).to_pylist(), strict=True):
            by_content.setdefault(sha256, []).append(row)
        found = []
        for image, sha256 in _hashes(source, candidates, workers):
            advance()
            if sha256 in by_content:
                found.append((image, sha256))
        found.sort(key=lambda pair: self._lost.get(pair[0].path) not in by_content[pair[1]])  # stable: paths in order
        moved = set()
        for image, sha256 in found:
            same = by_content[sha256]
            if not same:
                continue  # a second copy: the first one took the id
            own = self._lost.get(image.path)
            row = own if own in same else same[0]
            same.remove(row)
            self.kept[row] = image
            moved.add(image.path)
        self.to_read = [image for image in self.to_read if image.path not in moved]


def is_same(image: ListedImage, size: int | None, mtime_ns: int | None, etag: str | None, *, unmarked: bool) -> bool:
    """Whether an image that was read with these marks is unchanged.

    unmarked: what to say of one that has no mark of change at all.
    """
    if image.size is not None and image.size != size:
        return False
    if image.mtime_ns is None and image.etag is None:
        return unmarked
    return (image.mtime_ns, image.etag) == (mtime_ns, etag)


def shares_content(source: Source, images: Sequence[ListedImage], known: Iterable[Row]) -> bool:
    """Whether any of the images equals a known one byte for byte; stops at the first."""
    contents = {(row["size"], row["sha256"]) for row in known}
    sizes = {size for size, _ in contents}
    for image in images:
        if image.size is None or image.size in sizes:  # others need not be read
            try:
                data = source.read(image)
            except BrokenImageError:
                continue
            if (len(data), bytes_sha256(data)) in contents:
                return True
    return False


def _hashes(source: Source, images: Sequence[ListedImage], workers: int) -> Iterator[tuple[ListedImage, str]]:
    """The sha256 of every image that can be read, in order."""

    def sha256(image: ListedImage) -> str:
        try:
            return bytes_sha256(source.read(image))
        except BrokenImageError:  # the error is reported when it is embedded
            return ""

    with ThreadPoolExecutor(workers, thread_name_prefix="look-for-moved-images") as pool:
        for start in range(0, len(images), AT_ONCE):
            some = images[start : start + AT_ONCE]
            yield from zip(some, pool.map(sha256, some), strict=True)
