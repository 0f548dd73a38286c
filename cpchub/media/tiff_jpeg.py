"""JPEG streams in a TIFF that are smaller than the strip or tile that they are for.

libtiff only warns of them, and leaves the rest of the image as it is in memory, with pixels of earlier images.
"""

from __future__ import annotations

import struct
from typing import Any

from PIL import Image

from cpchub.errors import BrokenImageError
from cpchub.media.tiff_parts import COMPRESSION, parts

JPEG = 7  # TIFF Technical Note 2
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # ITU-T T.81, table B.1: the markers that state a size


def check_jpeg_streams(image: Image.Image, data: bytes) -> None:
    """Raise BrokenImageError where a stream of an opened TIFF, whose bytes are `data`, does not fill its part."""
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(COMPRESSION) != JPEG:
        return
    for stream, width, rows in parts(tags, data):
        size = _size(stream)
        if size is None:
            raise BrokenImageError("the image is damaged (a part of it has no JPEG header)")
        if size[0] < width or size[1] < rows:
            raise BrokenImageError(
                f"the image is damaged (a part of {width} x {rows} pixels is stored with {size[0]} x {size[1]})"
            )


def _size(stream: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG stream states; None where its markers do not lead to one."""
    at = 2
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], struct.unpack_from(">H", stream, at + 2)[0]
        if marker == 0xFF:  # a fill byte (B.1.1.2)
            at += 1
            continue
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", stream, at + 5)
            return width, height
        at += 2 + length
    return None
