"""Channels of more than 8 bits, brought to 8 bits by the scale that their values use.

Cameras and microscopes put 10, 12 or 14 bits into files of 16, mostly into the lower ones, and few files say so. Taken
as 16 bits, all of their images are black. So the scale is what a TIFF's tags say, and without any the smallest usual
one that holds the image's largest value, in either order of the bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cpchub.errors import BrokenImageError

USUAL = (255, 1023, 4095, 16383, 65535)  # full scale of 8, 10, 12, 14 and 16 bits
DARK = 64  # upper bytes below this one: all values fit into 14 bits, so the scale may be a smaller one than 16 bits
BITS_TAG, PHOTOMETRIC_TAG, MAX_VALUE_TAG, PLANES_TAG = 258, 262, 281, 284  # TIFF 6.0, section 8
WHITE_LEVEL_TAG = 50717  # DNG 1.4
WHITE_IS_ZERO, SEPARATE_PLANES = 0, 2
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def is_grey(image: Image.Image) -> bool:
    """Whether an image has one channel of more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def grey(image: Image.Image) -> Image.Image:
    """Such an image with 8 bits: of mode L, or LA where one value stands for what is transparent.

    Raises BrokenImageError for values that are not finite.
    """
    values = np.asarray(image)
    tags = _tags(image)
    scaled = to_bytes(values, _white(tags))
    if values.dtype.kind == "u" and tags.get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO:
        scaled = 255 - scaled
    return _with_alpha(scaled, _opaque(values[:, :, None], image))


def is_colour(image: Image.Image) -> bool:
    """Whether an opened image, not loaded yet, has several channels of 16 bits, of which Pillow keeps the upper 8."""
    if _tags(image).get(PLANES_TAG) == SEPARATE_PLANES and _bits(image) == 16:
        _change_rawmodes(image, _of_separate_planes(image))
    return not is_grey(image) and any(_is_deep(mode) for mode in _rawmodes(image))


def colour(image: Image.Image, again: Callable[[], Image.Image]) -> Image.Image:
    """Such an image, loaded by now, with the 8 bits that it uses. again: opens the same file once more."""
    transparent = "transparency" in image.info
    if not transparent and np.asarray(image)[:, :, :3].max() >= DARK:
        return image
    lower = again()
    if not is_colour(lower) or any("a;16" in mode for mode in _rawmodes(lower)):  # premultiplied
        return image
    if _rawmodes(lower) == ["LA;16B"]:  # Pillow has no mode for it, but its four bytes are as many as of RGBA
        _change_rawmodes(lower, lambda mode: "RGBA")
        both = np.asarray(lower).astype(np.uint16)
        values, channels = both[:, :, ::2] << 8 | both[:, :, 1::2], 1
    else:
        _change_rawmodes(lower, lambda mode: mode[:-1] + OTHER_ORDER[mode[-1]])
        values = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
        channels = 4 if image.mode == "CMYK" else 3
    pixels = to_bytes(values[:, :, :channels], _white(_tags(image)))
    if image.mode == "CMYK":
        return Image.fromarray(pixels, "CMYK")
    opaque = _opaque(values, image) if transparent else None
    if values.shape[2] > channels:
        opaque = to_bytes(values[:, :, channels])
    return _with_alpha(pixels, opaque)


def to_bytes(values: npt.NDArray[Any], white: float | None = None) -> npt.NDArray[np.uint8]:
    """Values of more than 8 bits to 0..255. white: what becomes 255, where the file says so.

    Values below 0 are black, except where they reach no further than those above: then the smallest one is black.
    """
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BrokenImageError("pixel values that are not finite numbers")
    low, top = float(values.min(initial=0)), float(values.max(initial=0))
    black = low if low >= -top else 0.0
    used = top - black
    if values.dtype.kind == "f" and top <= 1:
        scale = 1 - black
    elif white is not None and top <= white:
        scale = white - black
    else:
        scale = next((usual for usual in USUAL if used <= usual), used)
    levels = np.arange(1 << 16) if values.dtype == np.uint16 else values.astype(np.float64)
    scaled = np.rint(np.clip(levels - black, 0, scale) * (255.0 / scale)).astype(np.uint8)
    return scaled[values] if values.dtype == np.uint16 else scaled


def _white(tags: Any) -> float | None:
    """The largest value that a TIFF says to use, None where it says no more than its type does."""
    found = [tags.get(tag) for tag in (WHITE_LEVEL_TAG, MAX_VALUE_TAG)]
    found.append(2 ** _largest(tags.get(BITS_TAG)) - 1)
    told = [_largest(value) for value in found]
    return min((value for value in told if 0 < value < USUAL[-1]), default=None)


def _largest(value: Any) -> float:
    """Of the numbers of a tag; 0 without any."""
    numbers = value if isinstance(value, tuple) else (value,)
    return max((float(number) for number in numbers if isinstance(number, (int, float))), default=0.0)


def _bits(image: Image.Image) -> float:
    return _largest(_tags(image).get(BITS_TAG))


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _opaque(values: npt.NDArray[Any], image: Image.Image) -> npt.NDArray[np.uint8] | None:
    """Alpha of a PNG in which one grey value or colour, of all bits, is transparent."""
    transparent = image.info.get("transparency")
    if not isinstance(transparent, (int, tuple)):
        return None
    return np.where((values == transparent).all(axis=2), np.uint8(0), np.uint8(255))


def _with_alpha(pixels: npt.NDArray[np.uint8], opaque: npt.NDArray[np.uint8] | None) -> Image.Image:
    """uint8 `[H, W]` or `[H, W, 1|3]`, and its alpha if it has any, as an image."""
    image = Image.fromarray(np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels))
    if opaque is not None:
        image.putalpha(Image.fromarray(np.ascontiguousarray(opaque)))
    return image


def _rawmodes(image: Image.Image) -> list[str]:
    """How Pillow is told to read the bytes of each tile."""
    arguments = [tile[3] for tile in getattr(image, "tile", [])]
    modes = [each if isinstance(each, str) or not each else each[0] for each in arguments]
    return [mode for mode in modes if isinstance(mode, str)]


def _is_deep(rawmode: str) -> bool:
    return rawmode[-4:-1] == ";16" and rawmode[-1] in OTHER_ORDER


def _change_rawmodes(image: Any, change: Callable[[str], str]) -> None:
    def changed(arguments: Any) -> Any:
        if isinstance(arguments, str):
            return change(arguments)
        return (change(arguments[0]), *arguments[1:]) if arguments and isinstance(arguments[0], str) else arguments

    # a named tuple since Pillow 11.1
    image.tile = [getattr(tile, "_make", tuple)((*tile[:3], changed(tile[3]))) for tile in image.tile]


def _of_separate_planes(image: Any) -> Callable[[str], str]:
    """Pillow reads uncompressed planes of 16 bits as if they had 8, and shows noise."""
    order = "L" if image.tag_v2.prefix == b"II" else "B"
    return lambda mode: f"{mode};16{order}" if mode in ("R", "G", "B", "A") else mode
