"""The encoded strips or tiles of an opened TIFF (TIFF 6.0, sections 8 and 15)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

COMPRESSION = 259
WIDTH, HEIGHT, ROWS, STRIPS, STRIP_BYTES = 256, 257, 278, 273, 279
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 322, 323, 324, 325


class Part(NamedTuple):
    """One strip or tile: its encoded bytes, and the pixels that they have to fill."""

    stream: bytes
    width: int
    rows: int


def parts(tags: Any, data: bytes) -> Iterator[Part]:
    """The strips or tiles of the file whose bytes are `data`, with the last strip as high as what is left for it."""
    tiled = TILES in tags
    width = tags[TILE_WIDTH] if tiled else tags[WIDTH]
    rows = tags[TILE_HEIGHT] if tiled else min(tags.get(ROWS, tags[HEIGHT]), tags[HEIGHT])
    starts = tags[TILES if tiled else STRIPS]
    counts = tags.get(TILE_BYTES if tiled else STRIP_BYTES, ())
    if len(starts) == 1 and not any(counts):
        counts = (len(data),)  # old fax programs leave the count out, and libtiff reads to the end
    a_plane = 1 if tiled else -(-tags[HEIGHT] // rows)
    for number, (start, count) in enumerate(zip(starts, counts, strict=False)):
        left = rows if tiled else tags[HEIGHT] - number % a_plane * rows
        yield Part(data[start : start + count], width, min(rows, left))
