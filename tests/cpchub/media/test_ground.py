"""The ground that transparent images are laid over."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from cpchub.media.decode import read_image
from cpchub.media.ground import on_ground
from cpchub_training.data.listing import square
from cpchub_training.views.per_image import image_view
from cpchub_training.views.settings import Views

WHOLE = Views(size=64, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, jitter_p=0, grey_p=0)


def drawing(seed: int, colour: tuple[int, int, int], mode: str = "RGBA", side: int = 96) -> Image.Image:
    """Some strokes of one colour on a transparent ground, different for each seed."""
    points = np.random.default_rng(seed).integers(0, side, (6, 2))
    image = Image.new("RGBA", (side, side), (*colour, 0))
    ImageDraw.Draw(image).line([tuple(point) for point in points.tolist()], fill=(*colour, 255), width=4)
    return image.convert(mode)


def as_file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def corner(data: bytes) -> tuple[int, int, int]:
    """The colour of the ground: no stroke reaches the last pixel."""
    return read_image(data).getpixel((95, 95))


@pytest.mark.parametrize("colour", [(255, 255, 255), (250, 250, 240), (215, 215, 215)])
@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP")])
def test_white_drawings_are_told_apart(colour: tuple[int, int, int], mode: str, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    files = [as_file(drawing(seed, colour, mode), kind, **options) for seed in range(20)]
    pixels = [np.asarray(read_image(file), dtype=float) for file in files]
    assert all(np.abs(pixels[i] - pixels[j]).mean() > 3 for i in range(20) for j in range(i))


def test_white_strokes_of_a_palette_file_are_seen() -> None:
    image = Image.new("P", (96, 96), 0)
    image.putpalette([255, 255, 255, 255, 255, 255])
    ImageDraw.Draw(image).line([(5, 5), (60, 80)], fill=1, width=5)
    for data in (as_file(image, transparency=0), as_file(image, "GIF", transparency=0)):
        assert np.asarray(read_image(data)).std() > 20


@pytest.mark.parametrize("colour", [(0, 0, 0), (120, 30, 30), (255, 255, 0), (190, 190, 190)])
def test_what_white_shows_is_laid_over_white(colour: tuple[int, int, int]) -> None:
    assert corner(as_file(drawing(1, colour))) == (255, 255, 255)


def test_a_white_drawing_with_a_dark_outline_is_laid_over_white() -> None:
    image = drawing(1, (255, 255, 255))
    ImageDraw.Draw(image).rectangle((10, 10, 60, 60), fill="white", outline="black", width=2)
    assert corner(as_file(image)) == (255, 255, 255)


@pytest.mark.parametrize("alpha", [0, 90, 255])
def test_one_plain_colour_is_laid_over_white(alpha: int) -> None:
    over_white = 255 - alpha + round(200 * alpha / 255)
    assert read_image(as_file(Image.new("RGBA", (40, 30), (200, 200, 200, alpha)))).getpixel((3, 3)) == pytest.approx(
        (over_white,) * 3, abs=1
    )


@pytest.mark.parametrize("side", [11, 48, 150, 700])
def test_a_copy_of_another_size_has_the_same_ground(side: int) -> None:
    for colour in ((255, 255, 255), (0, 0, 0)):
        image = drawing(3, colour)
        resized = image.resize((side, side), Image.Resampling.BILINEAR)
        assert on_ground(resized).getpixel((side - 1, side - 1)) == on_ground(image).getpixel((95, 95))


def test_a_very_long_transparent_image_has_a_ground() -> None:
    strip = Image.new("RGBA", (3, 5000), (255, 255, 255, 0))
    strip.paste((255, 255, 255, 255), (0, 0, 3, 900))
    assert on_ground(strip).getpixel((1, 4000)) == (0, 0, 0)


def test_training_shows_the_same_ground_as_embedding() -> None:
    for colour in ((255, 255, 255), (0, 0, 0)):
        data = as_file(drawing(5, colour, side=64))
        embedded = torch.from_numpy(np.array(read_image(data))).permute(2, 0, 1)
        assert torch.equal(square(data, 64), embedded)
        view = image_view(data, WHOLE, torch.Generator().manual_seed(0))
        assert (view * 255 - embedded.float()).abs().max() < 2


def test_a_crop_of_a_training_view_has_the_ground_of_the_whole_image() -> None:
    """An empty part has no contrast of its own; the strokes elsewhere decide."""
    image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 0, 64, 8))
    views = replace(WHOLE, size=8, crop_scale=(0.02, 0.02))
    seen = [image_view(as_file(image), views, torch.Generator().manual_seed(seed)) for seed in range(30)]
    assert min(view.max().item() for view in seen) == 0
