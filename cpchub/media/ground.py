"""The ground that a transparent image is laid over: white, or black where white would hide what it shows.

White is what viewers and web pages mostly show. But white drawings on a transparent ground are common, and over white
they are all the same image. The ground depends on the image alone, so one image has one vector everywhere.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

BETTER = 4.0  # times the contrast that black must show: a light grey of 204 or more counts as hidden by white
ROUNDING = 1e-6  # a variance that is none
SIDE = 64  # pixels to which the image is reduced for this


def on_ground(image: Image.Image) -> Image.Image:
    """The image as RGB without transparency; it must be the whole image, since a part may get another ground."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    ground = Image.new("RGBA", rgba.size, "black" if _hidden_by_white(rgba) else "white")
    return Image.alpha_composite(ground, rgba).convert("RGB")


def _hidden_by_white(rgba: Image.Image) -> bool:
    """Whether black shows the image with BETTER times the contrast (standard deviation) of white.

    Laying over a ground and reducing by averages are both linear, so a drawing of one colour has the same ratio of
    contrasts at every size: a smaller copy gets the same ground.
    """
    width, height = rgba.size
    small = rgba.reduce((max(1, width // SIDE), max(1, height // SIDE)))
    pixels = np.asarray(small, dtype=np.float64) / 255
    alpha = pixels[:, :, 3:]
    over_black = pixels[:, :, :3] * alpha
    over_white = over_black + 1 - alpha
    contrast_on_black, contrast_on_white = (over.var(axis=(0, 1)).sum() for over in (over_black, over_white))
    return bool(contrast_on_black > max(BETTER**2 * contrast_on_white, ROUNDING))
