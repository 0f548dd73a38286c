"""The part of an image that a centre crop can see, cut out before it is resized, so that memory stays bounded."""

from __future__ import annotations

import math

from PIL import Image

LONGEST = 8  # times the short side: of a longer image the ends are cut off first, as no crop shows them


def middle(image: Image.Image, longest: float = LONGEST) -> Image.Image:
    """The middle of an image that is longer than `longest` times its short side; any other one as it is.

    Resized to a short side, an image of 1 x 65,000 pixels would take gigabytes, of which a centre crop shows a square.
    Whole squares are cut off, the same number at both ends, so that the crop falls on the same pixels as without.
    """
    short, long = sorted(image.size)
    squares = math.ceil((long - longest * short) / (2 * short))
    if squares <= 0:
        return image
    cut = squares * short
    x, y = (cut, 0) if image.width > image.height else (0, cut)
    return image.crop((x, y, image.width - x, image.height - y))


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """The image resized to a short side of `side` pixels, and its centre square of that."""
    image = middle(image)
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + side, top + side))
