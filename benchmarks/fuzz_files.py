"""Whole files of every image format that is read, in the kinds that are decoded differently, and damaged ones."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (72, 56)  # of the originals
WHOLE = 10  # every so many files one is not damaged
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
TIFF_COMPRESSIONS = ("raw", "packbits", "lzw", "deflate", "jpeg", "zstd", "lzma", "group3", "group4")
FORMATS = ("jpeg", "png", "webp", "gif", "bmp", *(f"tiff-{each}" for each in TIFF_COMPRESSIONS), "avif", "heic")


def photo(seed: int, mode: str = "RGB") -> Image.Image:
    """Soft random blobs, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 16)
    if mode in ("I", "F"):
        return Image.fromarray(np.asarray(image.convert("L")).astype({"I": np.int32, "F": np.float32}[mode]))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def originals(format: str) -> list[bytes]:
    """Whole files of a format in the kinds that differ in how they are decoded."""
    if format.startswith("tiff-"):
        return _tiffs(format.removeprefix("tiff-"))
    more = {"save_all": True, "append_images": [photo(90), photo(91)]}
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    made: dict[str, Callable[[], list[bytes]]] = {
        "jpeg": lambda: [
            encoded(photo(1), "JPEG", exif=exif),
            encoded(photo(2), "JPEG", progressive=True),
            encoded(photo(3, "L"), "JPEG"),
            encoded(photo(4, "CMYK"), "JPEG"),
            encoded(photo(5), "JPEG", subsampling=0, optimize=True),
            encoded(photo(6), "MPO", **more),
        ],
        "png": lambda: [
            *(encoded(photo(i, mode), "PNG") for i, mode in enumerate(("RGB", "RGBA", "LA", "L", "P", "1", "I;16"))),
            encoded(photo(8), "PNG", exif=exif),
            encoded(photo(9), "PNG", **more),
            encoded(photo(10), "PNG", transparency=(1, 2, 3)),
        ],
        "webp": lambda: [
            encoded(photo(1), "WEBP"),
            encoded(photo(2, "RGBA"), "WEBP", exif=exif),
            encoded(photo(3), "WEBP", lossless=True),
            encoded(photo(4), "WEBP", **more),
        ],
        "gif": lambda: [
            encoded(photo(1), "GIF"),
            encoded(photo(2, "L"), "GIF", interlace=False),
            encoded(photo(3, "RGBA"), "GIF", transparency=3),
            encoded(photo(4), "GIF", **more),
        ],
        "bmp": lambda: [encoded(photo(i, mode), "BMP") for i, mode in enumerate(("RGB", "P", "L", "1", "RGBA"))],
        "avif": lambda: [
            encoded(photo(1), "AVIF"),
            encoded(photo(2, "RGBA"), "AVIF", exif=exif),
            encoded(photo(3), "AVIF", subsampling="4:4:4", quality=100),
            encoded(photo(4), "AVIF", **more),
        ],
        "heic": _heics,
    }
    return made[format]()


def _tiffs(compression: str) -> list[bytes]:
    names = {"lzw": "tiff_lzw", "deflate": "tiff_adobe_deflate"}
    if compression in ("group3", "group4"):
        kinds: tuple[dict[int, int], ...] = ({}, {278: 16}, {266: 2}, {292: 1}, {292: 5})  # rows, order of bits, T.4
        fax = [photo(seed, "1") for seed in range(1, 6)]
        return [encoded(im, "TIFF", compression=compression, tiffinfo=k) for im, k in zip(fax, kinds, strict=True)]
    deep = () if compression == "jpeg" else ("I;16", "I", "F", "1", "P", "LA")
    modes = ("RGB", "L", "CMYK", *deep)
    files = [
        encoded(photo(seed, mode), "TIFF", compression=names.get(compression, compression))
        for seed, mode in enumerate(modes)
    ]
    if compression == "raw":
        big = np.asarray(photo(20, "I;16")).astype(">u2")
        files.append(encoded(Image.fromarray(big), "TIFF"))
    return files


def _heics() -> list[bytes]:
    import pillow_heif

    def heic(image: Image.Image, **options: Any) -> bytes:
        stream = io.BytesIO()
        pillow_heif.from_pillow(image).save(stream, **options)
        return stream.getvalue()

    deep = pillow_heif.from_bytes("RGB;16", SIZE, (np.asarray(photo(4)).astype(np.uint16) * 257).tobytes())
    stream = io.BytesIO()
    deep.save(stream)
    return [heic(photo(1)), heic(photo(2, "RGBA")), heic(photo(3), quality=-1), heic(photo(5, "L")), stream.getvalue()]


def mutated(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    """The bytes with bits flipped, fields set to extremes, parts cut off, doubled, zeroed, or of another file."""
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 8))):
        if not changed:
            break
        at = generator.randrange(len(changed))
        some = generator.randint(1, 64)
        match generator.randrange(9):
            case 0 | 1:
                changed[at] ^= 1 << generator.randrange(8)
            case 2:  # a field of the header, in either order of bytes
                at = generator.randrange(min(len(changed), 256))
                width = generator.choice((1, 2, 4))
                value = generator.choice(EXTREMES) & ((1 << 8 * width) - 1)
                changed[at : at + width] = value.to_bytes(width, generator.choice(("little", "big")))
            case 3:
                changed[at : at + some] = generator.randbytes(some)
            case 4:
                del changed[at:]
            case 5:
                del changed[at : at + some]
            case 6:
                changed[at:at] = changed[at : at + some]
            case 7:  # a splice: the beginning of this file and the end of another
                other = generator.choice(others)
                changed[at:] = other[generator.randrange(len(other)) :]
            case _:
                changed[at : at + some] = bytes(len(changed[at : at + some]))
    return bytes(changed)


def write_files(format: str, count: int, seed: int, folder: Path) -> list[Path]:
    """`count` files of a format, every tenth of them whole."""
    generator = random.Random(f"{format} {seed}")
    whole = originals(format)
    folder.mkdir(parents=True)
    suffix = format.partition("-")[0]
    paths = []
    for number in range(count):
        data = whole[number // WHOLE % len(whole)] if number % WHOLE == 0 else generator.choice(whole)
        path = folder / f"{number:05d}.{suffix}"
        path.write_bytes(data if number % WHOLE == 0 else mutated(data, whole, generator))
        paths.append(path)
    return paths
