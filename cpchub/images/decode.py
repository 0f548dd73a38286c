"""From a file, bytes, array or PIL image to an upright 8-bit RGB picture.

Whatever a person's folder holds must come out as the eye sees it: EXIF orientation applied, transparency over white
(over black where white hides it), 16-bit and CMYK brought to 8-bit RGB, the first frame of an animation. What cannot be
shown raises `BrokenImageError` with a reason a person can act on.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError, features

from cpchub.errors import BrokenImageError
from cpchub.images.ground import on_ground
from cpchub.images.sources.storage import read_part

ImageSource: TypeAlias = "str | Path | bytes | Image.Image | npt.NDArray[Any]"

# What `find_images` looks for, and nothing else under those names: every further decoder is one more that a stranger's
# file reaches, and Pillow's for EPS starts Ghostscript. A camera's MPO is opened as the JPEG that it begins with.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # ISO/IEC 23008-12, annex B

ORIENTATION_TAG = 0x0112  # EXIF 2.3, section 4.6.4
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the work. Twice the wanted side keeps the picture within
# 54 dB of a full decode after the resize; at the wanted side itself the loss shows in the vectors.
MARGIN = 2

# What Pillow's plugins raise on damaged files, beside OSError for a truncated one.
DAMAGE = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, struct.error, zlib.error)


@dataclass(frozen=True)
class Decoded:
    """An upright RGB picture and the size of the original, upright as well (the picture itself may be smaller)."""

    image: Image.Image
    width: int
    height: int


def read_image(source: ImageSource, *, size: int | None = None) -> Image.Image:
    """The picture as an upright RGB `PIL.Image`.

    source: a path, encoded bytes, a PIL image, or a uint8 array `[H, W]`, `[H, W, 1|3|4]`.
    size: the short side that will be needed, in pixels; large pictures are then reduced while they are decoded, never
        below twice that side.

    Raises BrokenImageError, naming the file, where there is no picture to be had.
    """
    if isinstance(source, (str, Path)):
        try:
            return decode_bytes(read_bytes(Path(source)), size=size).image
        except BrokenImageError as error:
            raise BrokenImageError(f"cannot read the picture {source}: {error}") from error
    if isinstance(source, bytes):
        return decode_bytes(source, size=size).image
    if isinstance(source, Image.Image):
        return _load(source)[0]
    if isinstance(source, np.ndarray):
        return _from_array(source)
    raise BrokenImageError(f"cannot read a picture from {type(source).__name__}; give a path, bytes, image or array")


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; raises BrokenImageError with the reason where it cannot be read."""
    return read_part(path)


def decode_bytes(data: bytes, *, size: int | None = None) -> Decoded:
    """Decode an encoded picture, of FORMATS and with the extra `heif` also HEIC; `size` as in `read_image`.

    Raises BrokenImageError with the bare reason, for a list of failures that has the path beside it.
    """
    if not data:
        raise BrokenImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            full = image.size
            if size is not None:
                image.draft(None, (MARGIN * size, MARGIN * size))
            drafted = image.size != full
            upright, on_its_side = _load(image)
    except UnidentifiedImageError as error:
        if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS and "HEIF" not in _formats():
            raise BrokenImageError('HEIC pictures need one more package: pip install "cpchub[heif]"') from error
        raise BrokenImageError("not a picture, or of an unknown format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenImageError("too many pixels to decode safely; make a smaller copy") from error
    except DAMAGE as error:
        raise _damaged(error) from error
    if not drafted:  # a TIFF turns itself while loading, so only its final size is the truth
        full = upright.size
    elif on_its_side:
        full = full[::-1]
    return Decoded(_reduced(upright, size), *full)


@cache
def _formats() -> tuple[str, ...]:
    """FORMATS and what this installation can decode beyond them."""
    more = ["AVIF"] if features.check("avif") else []
    if find_spec("pillow_heif") is not None:
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False)
        more.append("HEIF")
    return (*FORMATS, *more)


def resize_side(input_size: tuple[int, int, int], crop_pct: float | None) -> int:
    """The short side to which an evaluation transform resizes before its crop: the `size` hint for `read_image`."""
    return math.ceil(max(input_size[1:]) / (crop_pct or 1.0))


def _load(image: Image.Image) -> tuple[Image.Image, bool]:
    """The pixels of an opened image, upright and RGB, and whether width and height changed places on the way.

    The given image keeps its own state.
    """
    try:
        image.load()
    except DAMAGE as error:
        raise _damaged(error) from error
    orientation = orientation_of(image)
    rgb = _to_rgb(image)
    if orientation in UPRIGHT:
        rgb = rgb.transpose(UPRIGHT[orientation])
    rgb.info = {}  # the EXIF block would turn the picture a second time when it is read again
    return rgb, orientation >= 5


def _reduced(image: Image.Image, size: int | None) -> Image.Image:
    """The formats that have no scaled decoding, by averaging whole blocks: it bounds what waits for the network."""
    factor = 1 if size is None else min(image.size) // (MARGIN * size)
    return image.reduce(factor) if factor > 1 else image


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where there is none of 1..8 or the block is damaged: the pixels are still good."""
    try:
        orientation = int(image.getexif().get(ORIENTATION_TAG, 1))
    except DAMAGE:
        return 1
    return orientation if orientation in UPRIGHT else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """A new 8-bit RGB image with the colours a viewer would show."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_bytes(np.asarray(image))).convert("RGB")
    return on_ground(image)


def _to_bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Grey values of more than 8 bits, `[H, W]`, to 0..255 by the smallest usual full scale that holds them."""
    if not np.isfinite(values).all():
        raise BrokenImageError("pixel values that are not finite numbers")
    top = float(values.max(initial=0))
    if values.dtype == np.uint16 or 255 < top <= 65535:
        full_scale = 65535.0
    elif values.dtype.kind == "f" and top <= 1:
        full_scale = 1.0
    else:
        full_scale = max(top, 255.0)
    scaled = np.clip(values.astype(np.float64), 0, None) * (255.0 / full_scale)
    return np.asarray(np.rint(scaled), dtype=np.uint8)


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise BrokenImageError(
            f"an array of shape {array.shape} and type {array.dtype} is not a picture: give uint8 [H, W], "
            "[H, W, 1], [H, W, 3] or [H, W, 4] with values 0..255"
        )
    if array.ndim == 3 and channels == 1:
        array = array[:, :, 0]
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array)))


def _damaged(error: BaseException) -> BrokenImageError:
    if isinstance(error, BrokenImageError):
        return error
    reason = str(error) or type(error).__name__
    return BrokenImageError(f"the picture is damaged ({reason})")
