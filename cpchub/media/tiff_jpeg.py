"""JPEG streams in a TIFF that are smaller than the strip or tile that they are for.

libtiff only warns of them, and leaves the rest of the picture as it is in memory, with pixels of earlier pictures.
"""

from __future__ import annotations

import struct
from typing import Any

from PIL import Image

from cpchub.errors import BrokenImageError

COMPRESSION, JPEG = 259, 7  # TIFF Technical Note 2
WIDTH, HEIGHT, ROWS, STRIPS, STRIP_BYTES = 256, 257, 278, 273, 279  # TIFF 6.0, section 8
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325  # section 15
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # ITU-T T.81, table B.1: the markers that state a size


def check_jpeg_streams(image: Image.Image, data: bytes) -> None:
    """Raise BrokenImageError where a stream of an opened TIFF, whose bytes are `data`, does not fill its part."""
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(COMPRESSION) != JPEG:
        return
    tiled = TILES in tags
    width = tags[TILE_WIDTH] if tiled else tags[WIDTH]
    rows = tags[TILE_HEIGHT] if tiled else min(tags.get(ROWS, tags[HEIGHT]), tags[HEIGHT])
    names = (TILES, TILE_BYTES) if tiled else (STRIPS, STRIP_BYTES)
    a_plane = 1 if tiled else -(-tags[HEIGHT] // rows)
    for number, (start, count) in enumerate(zip(*(tags[name] for name in names), strict=False)):
        needed = rows if tiled else min(rows, tags[HEIGHT] - number % a_plane * rows)
        size = _size(data[start : start + count])
        if size is not None and (size[0] < width or size[1] < needed):
            raise BrokenImageError(
                f"the picture is damaged (a part of {width} x {needed} pixels is stored with {size[0]} x {size[1]})"
            )


def _size(stream: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG stream states; None where it states none, which libtiff refuses."""
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], struct.unpack_from(">H", stream, at + 2)[0]
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", stream, at + 5)
            return width, height
        at += 2 + length
    return None
