"""Images that visitors searched with: their vectors and small copies, in memory and never more than a few hundred."""

from __future__ import annotations

import hashlib
import io
import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy.typing as npt
from PIL import Image

from cpchub.errors import QueryError
from cpchub.media.decode import EncodedImage, read_image
from cpchub_serving.visit.finder import Finder
from cpchub_serving.visit.thumbnails import TILE

MOST_KEPT = 500  # a vector and a small copy of each: some 10 MB together
MOST_PIXELS = 80_000_000  # a little less than what Pillow warns of
LONGEST_NAME = 200


@dataclass(frozen=True)
class Upload:
    """An image that was searched with: its unit vector `[D]`, a small WebP, the milliseconds that encoding took."""

    name: str
    vector: npt.NDArray
    thumbnail: bytes
    encode_ms: float


class Uploads:
    """The newest uploads, shared by all visitors: whoever has the token of one may search with it and see its copy.

    A token is of the file's content and name. Nobody can guess it without the file, and a file that is uploaded again,
    also after a restart, has the same one.
    """

    def __init__(self, finder: Finder, most: int = MOST_KEPT) -> None:
        self._finder = finder
        self._most = most
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock = Lock()

    def add(self, data: bytes, name: str) -> str:
        """Embed an encoded image and keep it; returns its token. Raises BrokenImageError, QueryError."""
        token = hashlib.sha256(name.encode(errors="replace") + b"\0" + data).hexdigest()[:32]
        if self._known(token):
            return token
        width, height = EncodedImage(data).stored_size
        if width * height > MOST_PIXELS:
            raise QueryError(
                f"This image has {width:,} x {height:,} pixels; at most {MOST_PIXELS:,} are read. Use a smaller copy."
            )
        started = time.perf_counter()
        vector = self._finder.vector_of(data)
        encode_ms = 1000 * (time.perf_counter() - started)
        upload = Upload(name[:LONGEST_NAME] or "Your image", vector, _small(data), encode_ms)
        with self._lock:
            self._kept[token] = upload
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return token

    def get(self, token: str) -> Upload:
        """The upload with that token. Raises QueryError if it is not kept, or not any more."""
        with self._lock:
            upload = self._kept.get(token)
            if upload is None:
                raise QueryError("The uploaded image of this link is no longer kept here; upload it again.")
            self._kept.move_to_end(token)
            return upload

    def _known(self, token: str) -> bool:
        with self._lock:
            if token in self._kept:
                self._kept.move_to_end(token)
            return token in self._kept


def _small(data: bytes) -> bytes:
    image = read_image(data, size=TILE)
    image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=84)
    return buffer.getvalue()
