"""Whichever way an image takes, to an embedding, into training or into an evaluation, its pixels are the same."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cpchub.errors import BrokenImageError
from cpchub.media.decode import decode_bytes, read_image
from cpchub_training import data
from cpchub_training.data.listing import square
from cpchub_training.evaluate.datasets import open_labelled
from cpchub_training.views.per_image import image_view
from cpchub_training.views.settings import Views
from tests.cpchub.images import an_image

SIDE = 32
WHOLE = Views(size=SIDE, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, jitter_p=0, grey_p=0)


def photo(seed: int = 1) -> Image.Image:
    return an_image(seed, (SIDE, SIDE))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def sixteen(order: str, top: int) -> bytes:
    grey = np.asarray(photo().convert("L"), np.float64) / 255 * top
    return encoded(Image.fromarray(grey.astype(np.uint16).astype(f"{order}u2")), "TIFF")


def turned(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(photo(), kind, exif=exif)


def transparent(mode: str) -> bytes:
    """Red where nothing is to be seen."""
    image = photo().convert("RGBA")
    image.paste((255, 0, 0, 0), (4, 4, 20, 12))
    if mode == "P":
        palette = photo().convert("P")
        return encoded(palette, "PNG", transparency=palette.getpixel((5, 5)))
    return encoded(image.convert(mode), "PNG")


def keyed() -> bytes:
    return encoded(photo(), "PNG", transparency=photo().getpixel((5, 5)))


def animated(kind: str) -> bytes:
    return encoded(photo(1), kind, save_all=True, append_images=[photo(2), photo(3)])


KINDS: dict[str, Callable[[], bytes]] = {
    "transparent red": lambda: transparent("RGBA"),
    "grey with alpha": lambda: transparent("LA"),
    "palette with transparency": lambda: transparent("P"),
    "colour that is transparent": keyed,
    "16 bits, little-endian": lambda: sixteen("<", 65535),
    "16 bits, big-endian": lambda: sixteen(">", 65535),
    "12 bits of 16, little-endian": lambda: sixteen("<", 4095),
    "12 bits of 16, big-endian": lambda: sixteen(">", 4095),
    "16 bits PNG": lambda: encoded(Image.fromarray(np.asarray(photo().convert("L")).astype(np.uint16) * 257), "PNG"),
    "CMYK JPEG": lambda: encoded(photo().convert("CMYK"), "JPEG"),
    "CMYK TIFF": lambda: encoded(photo().convert("CMYK"), "TIFF"),
    "1 bit": lambda: encoded(photo().convert("1"), "PNG"),
    "1 bit, group 4": lambda: encoded(photo().convert("1"), "TIFF", compression="group4"),
    "Lab TIFF": lambda: encoded(photo().convert("LAB"), "TIFF"),
    "floats": lambda: encoded(Image.fromarray(np.asarray(photo().convert("L"), np.float32) / 255), "TIFF"),
    "several images": lambda: encoded(photo(), "MPO", save_all=True, append_images=[photo(2)]),
    "animated GIF": lambda: animated("GIF"),
    "animated WebP": lambda: animated("WEBP"),
    "animated PNG": lambda: animated("PNG"),
    "animated AVIF": lambda: animated("AVIF"),
    "palette BMP": lambda: encoded(photo().convert("P"), "BMP"),
} | {
    f"orientation {orientation} {kind}": lambda orientation=orientation, kind=kind: turned(orientation, kind)  # type: ignore[misc]
    for orientation in range(2, 9)
    for kind in ("JPEG", "PNG", "TIFF", "WEBP")
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_ways_show_the_same_pixels(kind: str, tmp_path: Path) -> None:
    file = KINDS[kind]()
    expected = np.asarray(decode_bytes(file, size=SIDE).image)
    assert expected.shape == (SIDE, SIDE, 3)
    assert expected.std() > 5
    view = image_view(file, WHOLE, torch.Generator().manual_seed(0))
    ways = {
        "embedding from a path": read_image(_saved(file, tmp_path), size=SIDE),
        "views of files": (view * 255).round().to(torch.uint8).permute(1, 2, 0),
        "squares in memory": square(file, SIDE).permute(1, 2, 0),
    }
    for name, pixels in ways.items():
        assert np.array_equal(np.asarray(pixels), expected), name


def test_aligned_folders_and_evaluations_show_the_same_pixels(tmp_path: Path) -> None:
    for number, make in enumerate(KINDS.values()):
        for name in ("rgb", "depth"):
            folder = tmp_path / name / ("dogs" if number % 2 else "cats")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:02}.png").write_bytes(make())  # a name tells nothing about the format
    scenes = data.load(f"rgb={tmp_path / 'rgb'},depth={tmp_path / 'depth'}", size=SIDE)
    assert not scenes.skipped
    labelled = open_labelled(str(tmp_path / "rgb"))
    for part in (labelled.train, labelled.test):
        for path, pixels in zip(part.images, part.arrays(side=SIDE), strict=True):
            assert isinstance(path, Path)
            assert np.array_equal(pixels, np.asarray(decode_bytes(path.read_bytes(), size=SIDE).image)), path
    order = [p.read_bytes() for p in sorted((tmp_path / "rgb").rglob("*.png"))]
    for file, scene in zip(order, scenes.images, strict=True):
        expected = torch.from_numpy(np.array(decode_bytes(file, size=SIDE).image)).permute(2, 0, 1)
        assert torch.equal(scene[:3], expected)


@pytest.mark.parametrize("kind", ["EPS", "PCX", "PPM", "TGA"])
def test_no_way_reads_a_format_that_the_others_do_not(kind: str) -> None:
    file = encoded(photo(), kind)
    for read in (decode_bytes, lambda data: square(data, SIDE), lambda data: image_view(data, WHOLE, None)):  # type: ignore[arg-type]
        with pytest.raises(BrokenImageError, match="unknown format"):
            read(file)


def _saved(file: bytes, folder: Path) -> Path:
    path = folder / "image"
    path.write_bytes(file)
    return path
