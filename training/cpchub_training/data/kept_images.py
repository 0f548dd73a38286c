"""Smaller copies of large images, kept on disk: an epoch decodes an image once, and the next ones read its copy.

    CPCHUB_CACHE/images/ENTRY/   about.json   packs (`cpchub.common.packs`)

An entry holds one kind of copies of one source; a copy is known by path, size and time of change of its file. All
entries together stay under a limit. Those that were not used for the longest time go first. Where all are in use, the
images that do not fit are decoded in every epoch.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from threading import Lock

import PIL

from cpchub.common.files import write_json
from cpchub.common.hashing import bytes_sha256
from cpchub.common.kept import Kept, kept_images
from cpchub.common.packs import Packs, keys_of
from cpchub.common.progress import remarks
from cpchub.common.words import bytes_of, size
from cpchub.errors import CpchubError
from cpchub.media.sources import ListedImage
from cpchub_training.data.listing import Listed
from cpchub_training.data.resized import Copy

FORMAT = 1
NONE = "0"  # what a recipe has for no cache
ABOUT = "about.json"
WORTH = 2  # a copy is kept where its file is so many times as large; reading others again costs little
SHARE = 0.25  # of the free disk, by default
SPARE = 10**9  # bytes that stay free: a run has checkpoints to write
IDLE = 3600.0  # seconds after which an entry counts as not in use
LOOK_AGAIN = 10.0  # seconds between two looks at what all entries take


class Copies:
    """The smaller copies of the images `listed`, by row: read where they are kept, else made. For many threads.

    wanted: the recipe's `image_cache`. found, made: how many copies were read, and how many were made.
    """

    def __init__(self, listed: Listed, copy: Copy, wanted: str = NONE) -> None:
        self.listed, self.copy = listed, copy
        self.found = self.made = 0
        self._counting = Lock()
        self._kept = None if wanted == NONE else _opened(listed, copy, wanted)
        self._told = False

    def read(self, row: int) -> bytes:
        """The copy of an image. Raises BrokenImageError for one that cannot be read."""
        piece = None if self._kept is None else self._kept.get(row)
        if piece is not None:
            with self._counting:
                self.found += 1
            return piece
        encoded = self.listed.read(row)
        piece = self.copy.make(encoded)
        with self._counting:
            self.made += 1
        if self._kept is not None and _is_worth(self.listed.images[row], encoded, piece):
            self._keep(self._kept, row, piece)
        return piece

    def _keep(self, kept: Packs, row: int, piece: bytes) -> None:
        try:
            kept.put(row, piece)
        except OSError as error:
            self._kept = None
            _say(f"No more smaller copies are kept in {kept.folder}: {error.strerror or error}.")
            return
        if not self._told:
            self._told = True
            _say(f"Smaller copies of large images are kept in {kept.folder} for the next epochs (--image-cache).")


def _is_worth(image: ListedImage, encoded: bytes, copy: bytes) -> bool:
    """Whether a copy saves work, and will be known to be of this file: a change of the file would show."""
    return len(encoded) >= WORTH * len(copy) and (image.mtime_ns, image.etag) != (None, None)


def _opened(listed: Listed, copy: Copy, wanted: str) -> Packs | None:
    """Where the copies are kept; None without room, or without a folder that can be written."""
    try:
        cache = kept_images()
        taken = sum(entry.bytes for entry in cache.entries())
        limit = int(SHARE * (_free(cache.folder) + taken)) if wanted == "auto" else bytes_of(wanted)
        if not limit:
            return None
        facts = {"format": FORMAT, "source": listed.source.location, "copy": copy.name, "pillow": PIL.__version__}
        key = bytes_sha256(json.dumps(facts, sort_keys=True).encode())[:32]
        folder = cache.make(key, lambda made: write_json(made / ABOUT, facts))
    except (CpchubError, OSError) as error:
        _say(f"Smaller copies of the images cannot be kept, so each epoch decodes them again: {error}")
        return None
    names = [f"{e.path}\0{e.size}\0{e.mtime_ns}\0{e.etag}\0{e.place}" for e in listed.images]
    return Packs(folder, keys_of(names), Room(cache, folder, limit).take)


class Room:
    """What all entries of a cache may still take on the disk, asked by one that is in use, in `folder`."""

    def __init__(self, cache: Kept, folder: Path, limit: int) -> None:
        self.cache, self.folder, self.limit = cache, folder, limit
        self._lock = Lock()
        self._taken, self._looked, self._full = 0, float("-inf"), False

    def take(self, number: int) -> bool:
        """Whether there is room for so many bytes more, which then count as taken."""
        with self._lock:
            old = time.monotonic() - self._looked > LOOK_AGAIN
            if old or (self._taken + number > self.limit and not self._full):
                self._look(number)
            if self._full:
                return False
            self._taken += number
            return self._taken <= self.limit

    def _look(self, number: int) -> None:
        """Count what all entries take, and drop those that nobody uses until `number` bytes fit."""
        self._looked, was_full = time.monotonic(), self._full
        self._full = self.cache.find(self.folder.name) is None  # which somebody has removed
        entries = self.cache.entries()
        self._taken = sum(entry.bytes for entry in entries)
        idle = [e for e in entries if e.folder != self.folder and time.time() - e.used > IDLE]
        while idle and (self._taken + number > self.limit or _free(self.folder) < number + SPARE):
            oldest = idle.pop()
            self.cache.drop(oldest.folder.name)
            self._taken -= oldest.bytes
        if not self._full and (self._taken + number > self.limit or _free(self.folder) < number + SPARE):
            self._full = True
            if not was_full:
                _say(
                    f"{self.cache.folder} is full with {size(self._taken)} of {size(self.limit)} (--image-cache): "
                    "images without a smaller copy there are decoded in each epoch."
                )


def _free(folder: Path) -> int:
    """Bytes that are free on the disk of a folder that may not be there yet."""
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def _say(sentence: str) -> None:
    """Rank 0 alone says it."""
    remarks(os.environ.get("RANK", "0") == "0").print(sentence, markup=False, highlight=False, soft_wrap=True)
