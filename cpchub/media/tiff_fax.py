"""Fax streams (ITU-T T.4 and T.6) in a TIFF that end before the strip or tile that they are for is filled.

libtiff calls them read, and leaves the rest as it is in memory, with pixels of earlier images. So each strip is
decoded twice behind one of a single colour, white and then black, which the memory holds when its turn comes: where the
outcomes differ, the stream has left pixels out.
"""

from __future__ import annotations

import io
import struct
from typing import Any

from PIL import Image, TiffImagePlugin

from cpchub.errors import BrokenImageError
from cpchub.media.tiff_parts import COMPRESSION, HEIGHT, ROWS, STRIP_BYTES, STRIPS, WIDTH, Part, parts

FAXES = {2: "tiff_ccitt", 3: "group3", 4: "group4"}  # TIFF 6.0, sections 10 and 11, and Pillow's names for them
BITS, PHOTOMETRIC, FILL_ORDER, SAMPLES, T4_OPTIONS, T6_OPTIONS = 258, 262, 266, 277, 292, 293
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_fax_streams(image: Image.Image, data: bytes) -> None:
    """Raise BrokenImageError where a fax stream of an opened TIFF, whose bytes are `data`, leaves pixels out."""
    tags: Any = getattr(image, "tag_v2", {})
    compression = tags.get(COMPRESSION)
    if compression not in FAXES:
        return
    if tags.get(SAMPLES, 1) != 1:
        raise BrokenImageError("the image is damaged (a fax with more than one value a pixel)")
    options = {tag: tags[tag] for tag in (T4_OPTIONS, T6_OPTIONS) if tag in tags}
    for part in parts(tags, data):
        if tags.get(FILL_ORDER, 1) == 2:
            part = part._replace(stream=part.stream.translate(REVERSED))
        white, black = (_behind(colour, part, compression, options) for colour in (255, 0))
        if white != black:
            raise BrokenImageError("the image is damaged (its fax data end before the image does)")


def _behind(colour: int, part: Part, compression: int, options: dict[int, int]) -> bytes:
    """The pixels of a part, decoded after a part of one colour."""
    stream = io.BytesIO()
    plain = Image.new("1", (part.width, part.rows), colour)
    plain.save(stream, "TIFF", compression=FAXES[compression], tiffinfo={ROWS: part.rows, **options})
    with Image.open(stream, formats=("TIFF",)) as saved:
        first = next(parts(saved.tag_v2, stream.getvalue())).stream  # type: ignore[attr-defined]
    both = TiffImagePlugin.TiffImageFile(io.BytesIO(_two_strips(first, part, compression, options)))
    return both.crop((0, part.rows, part.width, 2 * part.rows)).tobytes()


def _two_strips(first: bytes, part: Part, compression: int, options: dict[int, int]) -> bytes:
    """A TIFF of two strips of the same size, the second of which is the part."""
    fields = {
        WIDTH: part.width,
        HEIGHT: 2 * part.rows,
        BITS: 1,
        COMPRESSION: compression,
        PHOTOMETRIC: 1,
        SAMPLES: 1,
        ROWS: part.rows,
        **options,
    }
    directory_bytes = 2 + 12 * (len(fields) + 2) + 4
    table = 8 + directory_bytes
    streams = table + 16
    entries = {tag: (1, value) for tag, value in fields.items()} | {STRIPS: (2, table), STRIP_BYTES: (2, table + 8)}
    directory = struct.pack("<H", len(entries))
    for tag, (count, value) in sorted(entries.items()):
        directory += struct.pack("<HHII", tag, 4, count, value)
    places = struct.pack("<IIII", streams, streams + len(first), len(first), len(part.stream))
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + places + first + part.stream
