"""TIFF strips and tiles that do not fill their part are refused: libtiff leaves the rest as it is in memory."""

from __future__ import annotations

import io
import random
import struct

import numpy as np
import pytest
from PIL import Image

from benchmarks import fuzz_files
from cpchub.errors import BrokenImageError
from cpchub.media.decode import decode_bytes

SIDE = 64
ROWS, FILL_ORDER, T4 = 278, 266, 292
KINDS: list[tuple[str, dict[int, int]]] = [
    ("group4", {}),
    ("group4", {ROWS: 16}),
    ("group4", {FILL_ORDER: 2}),
    ("group3", {}),
    ("group3", {T4: 1}),
    ("group3", {T4: 5, ROWS: 16}),
    ("tiff_ccitt", {}),
]


def fax(seed: int, compression: str, info: dict[int, int]) -> bytes:
    return fuzz_files.encoded(fuzz_files.photo(seed, "1"), "TIFF", compression=compression, tiffinfo=info)


def first_strip(data: bytes) -> tuple[int, int]:
    """Where it begins and how long it is."""
    with Image.open(io.BytesIO(data)) as image:
        tags = image.tag_v2  # type: ignore[attr-defined]
        return tags[273][0], tags[279][0]


def tiled(tiles: list[bytes], compression: int) -> bytes:
    """A TIFF of two or more tiles of SIDE x SIDE side by side."""
    n = len(tiles)
    entries = {256: n * SIDE, 257: SIDE, 258: 1 if compression == 4 else 8, 259: compression, 262: 1, 277: 1}
    entries |= {322: SIDE, 323: SIDE, 324: 0, 325: 0}
    table = 8 + 2 + 12 * len(entries) + 4
    starts = [table + 8 * n + sum(map(len, tiles[:i])) for i in range(n)]
    data = b"II*\0" + struct.pack("<IH", 8, len(entries))
    for tag, value in entries.items():
        places = {324: (n, table), 325: (n, table + 4 * n)}
        data += struct.pack("<HHII", tag, 4, *places.get(tag, (1, value)))
    return data + bytes(4) + struct.pack(f"<{2 * n}I", *starts, *map(len, tiles)) + b"".join(tiles)


def jpeg(height: int = SIDE) -> bytes:
    return fuzz_files.encoded(fuzz_files.photo(1, "L").resize((SIDE, height)), "JPEG")


def fax_tile(seed: int) -> bytes:
    image = fuzz_files.photo(seed, "1").resize((SIDE, SIDE))
    data = fuzz_files.encoded(image, "TIFF", compression="group4", tiffinfo={ROWS: SIDE})
    at, count = first_strip(data)
    return data[at : at + count]


@pytest.mark.parametrize(("compression", "info"), KINDS)
def test_a_whole_fax_is_read(compression: str, info: dict[int, int]) -> None:
    expected = np.asarray(fuzz_files.photo(3, "1").convert("RGB"))
    assert np.array_equal(np.asarray(decode_bytes(fax(3, compression, info)).image), expected)


@pytest.mark.parametrize("info", [{}, {ROWS: 16}, {FILL_ORDER: 2}])
@pytest.mark.parametrize("damage", ["an early end", "no code", "a shorter strip"])
def test_a_fax_that_ends_early_is_refused(info: dict[int, int], damage: str) -> None:
    data = fax(3, "group4", info)
    at, count = first_strip(data)
    middle = at + count // 2
    if damage == "a shorter strip":
        changed = data.replace(struct.pack("<I", count), struct.pack("<I", count // 2))
        assert changed != data or ROWS in info
        data = changed if changed != data else data[:middle] + bytes(count // 2) + data[at + count :]
    else:
        end = b"\x00\x10\x01\x00\x10\x01" if damage == "an early end" else bytes(6)
        data = data[:middle] + end + data[middle + 6 :]
    with pytest.raises(BrokenImageError, match="fax data end before the image"):
        decode_bytes(data)


@pytest.mark.parametrize(("compression", "info"), KINDS)
def test_a_damaged_fax_has_the_same_pixels_whatever_was_in_memory_before(
    compression: str, info: dict[int, int]
) -> None:
    generator, whole, refused = random.Random(0), fax(3, compression, info), 0
    for _ in range(40):
        data = fuzz_files.mutated(whole, [whole], generator)
        seen = set()
        for before in (0, 255, 85):
            memory = [np.full(size, before, np.uint8) for size in range(64, 4096, 64)]
            del memory
            try:
                seen.add(decode_bytes(data).image.tobytes())
            except BrokenImageError:
                seen.add(b"refused")
        assert len(seen) == 1
        refused += seen == {b"refused"}
    assert 0 < refused < 40


def test_tiles_are_read() -> None:
    found = decode_bytes(tiled([jpeg(), jpeg()], 7)).image
    assert found.size == (2 * SIDE, SIDE)
    assert np.array_equal(np.asarray(found)[:, :SIDE], np.asarray(found)[:, SIDE:])
    faxes = np.asarray(decode_bytes(tiled([fax_tile(1), fax_tile(2)], 4)).image)
    assert np.array_equal(faxes[:, SIDE:], np.asarray(fuzz_files.photo(2, "1").resize((SIDE, SIDE)).convert("RGB")))


def test_a_tile_that_is_not_filled_is_refused() -> None:
    with pytest.raises(BrokenImageError, match="64 x 64 pixels is stored with 64 x 40"):
        decode_bytes(tiled([jpeg(), jpeg(40)], 7))
    with pytest.raises(BrokenImageError, match="fax data end before the image"):
        decode_bytes(tiled([fax_tile(1), fax_tile(2)[:20]], 4))


def test_the_size_of_a_jpeg_part_is_found_behind_fill_bytes_and_refused_where_hidden() -> None:
    filled = jpeg()[:2] + b"\xff\xff" + jpeg()[2:]  # ITU-T T.81, B.1.1.2
    assert decode_bytes(tiled([filled, filled], 7)).image.size == (2 * SIDE, SIDE)
    hidden = jpeg(40)[:2] + b"\x00\x01" + jpeg(40)[2:]  # which a JPEG decoder skips
    with pytest.raises(BrokenImageError, match="no JPEG header"):
        decode_bytes(tiled([jpeg(), hidden], 7))
