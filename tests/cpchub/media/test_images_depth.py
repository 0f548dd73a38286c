"""Channels of more than 8 bits come out with the tones that they use, whatever file and order of bytes they are in."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cpchub.errors import BrokenImageError
from cpchub.media.decode import read_image
from tests.cpchub.images import an_image

TOPS = {8: 255, 10: 1023, 12: 4095, 14: 16383, 16: 65535}


def shades(channels: int = 3) -> np.ndarray:
    """An image of 0..1, `[40, 48, channels]`, that reaches both ends."""
    values = np.asarray(an_image(3, (48, 40)), np.float64)[:, :, :channels]
    return (values - values.min()) / (values.max() - values.min())


def in_bits(values: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(values * TOPS[bits]).astype(np.uint16)


def png(values: np.ndarray, *more: tuple[bytes, bytes]) -> bytes:
    """uint16 `[H, W, 1..4]` as PNG, with further chunks; Pillow writes none of several channels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), *more]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def tiff(values: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    kind = "rgb" if values.squeeze().ndim == 3 else None
    tifffile.imwrite(stream, values.squeeze(), **{"photometric": kind} | options)
    return stream.getvalue()


def close(data: bytes, expected: np.ndarray, tolerance: int = 1) -> bool:
    found = np.asarray(read_image(data), np.int64)
    return bool(np.abs(found - np.rint(expected * 255)).max() <= tolerance)


@pytest.mark.parametrize("bits", TOPS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_bits_that_an_image_uses_are_scaled_to_eight(bits: int, channels: int) -> None:
    expected = shades(channels)
    values = in_bits(expected, bits)
    files = {"png": png(values)} | {
        f"tiff {order} {compression}": tiff(values, byteorder=order, compression=compression)
        for order in "<>"
        for compression in (None, "zlib")
    }
    for name, data in files.items():
        assert close(data, expected), name


@pytest.mark.parametrize("order", ["<", ">"])
def test_separate_planes_are_read_as_the_colours_that_they_are(order: str) -> None:
    expected = shades()
    for bits in (12, 16):
        planes = in_bits(expected, bits).transpose(2, 0, 1)
        assert close(tiff(planes, byteorder=order, planarconfig="separate"), expected)


def test_compressed_separate_planes_of_sixteen_bits_keep_their_colours() -> None:
    planes = in_bits(shades(), 16).transpose(2, 0, 1)
    assert close(tiff(planes, planarconfig="separate", compression="zlib"), shades())


def test_different_images_of_twelve_bits_stay_different() -> None:
    a, b = (np.asarray(an_image(seed, (48, 40)), np.float64)[:, :, 0] / 255 for seed in (1, 2))
    vectors = [np.asarray(read_image(tiff(in_bits(each, 12))), np.float64).ravel() - 127 for each in (a, b)]
    cosine = vectors[0] @ vectors[1] / np.prod([np.linalg.norm(vector) for vector in vectors])
    assert cosine < 0.8


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_dark_image_keeps_the_scale_that_its_tags_tell(order: str) -> None:
    dark = shades(1) * 0.2
    values = in_bits(dark, 12)
    assert not close(tiff(values, byteorder=order), dark, tolerance=20)  # 819 fits into 10 bits
    for tag in (281, 50717):
        assert close(tiff(values, byteorder=order, extratags=[(tag, 3, 1, 4095, True)]), dark), tag


def test_a_tag_that_the_values_contradict_or_that_says_nothing_is_left_aside() -> None:
    for told in (100, 65535):
        assert close(tiff(in_bits(shades(1), 12), extratags=[(281, 3, 1, told, True)]), shades(1)), told


def test_packed_twelve_bits_are_scaled_by_their_number_of_bits() -> None:
    values = in_bits(shades(1) * 0.2, 12)[:, :, 0].astype(np.uint32)
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=2).astype(np.uint8).tobytes()
    entries = [(256, 48), (257, 40), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 40), (279, len(packed))]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in entries)
    data = b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + directory + bytes(4)
    assert close(data, shades(1) * 0.2)


def test_white_is_zero_where_the_file_says_so() -> None:
    assert close(tiff(in_bits(shades(1), 16), photometric="miniswhite"), 1 - shades(1))


def test_alpha_of_many_bits_is_laid_over_white() -> None:
    for bits in (12, 16):
        for channels in (1, 3):
            values = in_bits(shades(channels), bits)
            alpha = np.full((*values.shape[:2], 1), TOPS[bits], np.uint16)
            alpha[:20] = 0
            expected = np.where(alpha == 0, 1, shades(channels))
            assert close(png(np.concatenate([values, alpha], axis=2)), expected), (bits, channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_transparent_value_of_sixteen_bits_is_that_value_alone(channels: int) -> None:
    values = in_bits(shades(channels), 16)
    values[0, 0] = 4660  # its bytes are 18 and 52
    values[0, 1] = 52 << 8
    expected = values / 65535
    expected[0, 0] = 1
    assert close(png(values, (b"tRNS", struct.pack(">H", 4660) * channels)), expected)


def test_values_below_zero_are_black_or_the_darkest_of_a_signed_scale() -> None:
    scan = np.rint(shades(1) * 4095 - 1024).astype(np.int16)  # Hounsfield units
    for order in "<>":
        assert close(tiff(scan, byteorder=order), (scan + 1024.0) / 4095, tolerance=1), order
    assert close(tiff((shades(1) * 2 - 1).astype(np.float32)), shades(1))
    height = np.rint(shades(1) * 255).astype(np.int16)
    height[0, 0] = -9999  # as no value is often written
    assert close(tiff(height), np.clip(height, 0, 255) / 255)


def test_floats_and_long_integers_are_scaled_by_what_they_use() -> None:
    for top in (1, 255, 4095, 1e6):
        assert close(tiff((shades(1) * top).astype(np.float32)), shades(1)), top
    assert close(tiff((shades(1) * 100_000).astype(np.int32)), shades(1))


def test_values_that_are_no_numbers_are_refused() -> None:
    values = shades(1).astype(np.float32)
    values[3, 3] = np.nan
    with pytest.raises(BrokenImageError, match="not finite"):
        read_image(tiff(values))


def test_a_pil_image_of_sixteen_bits_is_read_as_its_file_is() -> None:
    for order in "<>":
        data = tiff(in_bits(shades(1), 12), byteorder=order)
        assert np.array_equal(np.asarray(read_image(Image.open(io.BytesIO(data)))), np.asarray(read_image(data)))
