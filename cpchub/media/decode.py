"""From a file, bytes, array or PIL image to an upright 8-bit RGB image.

Whatever a person's folder holds must come out as the eye sees it: EXIF orientation applied, transparency over white
(over black where white hides it), 16-bit and CMYK brought to 8-bit RGB, the first frame of an animation. What cannot be
shown raises `BrokenImageError` with a reason a person can act on.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError, features

from cpchub.common.extras import install_command
from cpchub.errors import BrokenImageError
from cpchub.media import depth
from cpchub.media.damage import damage_as_failure
from cpchub.media.ground import on_ground
from cpchub.media.sources.storage import read_part
from cpchub.media.tiff_fax import check_fax_streams
from cpchub.media.tiff_jpeg import check_jpeg_streams

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

# JPEG can be decoded at 1/2, 1/4 or 1/8 for a fraction of the work. Twice the wanted side keeps the image within
# 54 dB of a full decode after the resize; at the wanted side itself the loss shows in the vectors.
MARGIN = 2
SCALED = ("JPEG", "MPO")  # a HEIC file's draft is its thumbnail, which may show what the image was before an edit
MANY_BITS = ("PNG", "TIFF")


@dataclass(frozen=True)
class Decoded:
    """An upright RGB image and the size of the original, upright as well (the image itself may be smaller)."""

    image: Image.Image
    width: int
    height: int


class EncodedImage:
    """An encoded image of FORMATS, with the extra `heif` also HEIC, of which the header is read.

    Raises BrokenImageError with the bare reason, for a list of failures that has the path beside it; so do its members.
    """

    def __init__(self, data: bytes) -> None:
        if not data:
            raise BrokenImageError("the file is empty")
        self._data = data
        with damage_as_failure():
            self._image = self._open()
            check_fax_streams(self._image, data)
            check_jpeg_streams(self._image, data)
            self._deep = self._image.format in MANY_BITS and depth.is_colour(self._image)
        self.is_grey = self._image.mode in ("1", "L", "LA") or depth.is_grey(self._image)
        self._scaled = self._image.format in SCALED
        self._loaded = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright image; only of a JPEG are they known before its pixels are decoded."""
        with damage_as_failure():
            width, height = self._image.size if self._scaled else self._load().size
            return (height, width) if self._orientation >= 5 else (width, height)

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height as the header has them; no pixel is decoded for it."""
        return self._image.size

    def rgb(self, at_least: tuple[int, int] | None = None) -> Image.Image:
        """The upright 8-bit RGB image; to be called once.

        at_least: width and height that will be needed of the whole upright image. A JPEG is then decoded at the
            smallest scale that has them.
        """
        with damage_as_failure():
            if at_least is not None and self._scaled:
                self._image.draft(None, at_least[::-1] if self._orientation >= 5 else at_least)
            image = self._load()
            pixels = depth.colour(image, self._open) if self._deep else image
            return _upright(_to_rgb(pixels), self._orientation)

    def _open(self) -> Image.Image:
        try:
            return Image.open(io.BytesIO(self._data), formats=_formats())
        except UnidentifiedImageError as error:
            if self._data[4:8] == b"ftyp" and self._data[8:12] in HEIF_BRANDS and "HEIF" not in _formats():
                raise BrokenImageError(f"HEIC images need one more package: {install_command('heif')}") from error
            raise BrokenImageError("not an image, or of an unknown format") from error

    @cached_property
    def _orientation(self) -> int:
        """A TIFF turns itself while it is loaded; a PNG may have its EXIF block behind its pixels."""
        return orientation_of(self._image if self._scaled else self._load())

    def _load(self) -> Image.Image:
        if not self._loaded:
            self._image.load()
            self._loaded = True
        return self._image


def read_image(source: ImageSource, *, size: int | None = None) -> Image.Image:
    """The image as an upright RGB `PIL.Image`.

    source: a path, encoded bytes, a PIL image, or a uint8 array `[H, W]`, `[H, W, 1|3|4]`.
    size: the short side that will be needed, in pixels; large images are then reduced while they are decoded, never
        below twice that side.

    Raises BrokenImageError, naming the file, where there is no image to be had.
    """
    if isinstance(source, (str, Path)):
        try:
            return decode_bytes(read_bytes(Path(source)), size=size).image
        except BrokenImageError as error:
            raise BrokenImageError(f"cannot read the image {source}: {error}") from error
    if isinstance(source, bytes):
        return decode_bytes(source, size=size).image
    if isinstance(source, Image.Image):
        with damage_as_failure():
            source.load()
            return _upright(_to_rgb(source), orientation_of(source))
    if isinstance(source, np.ndarray):
        return _from_array(source)
    raise BrokenImageError(f"cannot read an image from {type(source).__name__}; give a path, bytes, image or array")


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; raises BrokenImageError with the reason where it cannot be read."""
    return read_part(path)


def decode_bytes(data: bytes, *, size: int | None = None) -> Decoded:
    """Decode an encoded image, of FORMATS and with the extra `heif` also HEIC; `size` as in `read_image`.

    Raises BrokenImageError with the bare reason, for a list of failures that has the path beside it.
    """
    file = EncodedImage(data)
    size_of_all = file.size
    if size is None:
        return Decoded(file.rgb(), *size_of_all)
    image = file.rgb((MARGIN * size, MARGIN * size))
    with damage_as_failure():
        return Decoded(_reduced(image, size), *size_of_all)


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


def _upright(rgb: Image.Image, orientation: int) -> Image.Image:
    """A new RGB image, turned as the EXIF orientation says, without the block that would turn it a second time."""
    if orientation in UPRIGHT:
        rgb = rgb.transpose(UPRIGHT[orientation])
    rgb.info = {}
    return rgb


def _reduced(image: Image.Image, size: int) -> Image.Image:
    """The formats that have no scaled decoding, by averaging whole blocks: it bounds what waits for the network."""
    factor = min(image.size) // (MARGIN * size)
    return image.reduce(factor) if factor > 1 else image


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) where there is none of 1..8 or the block is damaged: the pixels are still good."""
    try:
        with damage_as_failure():
            orientation = int(image.getexif().get(ORIENTATION_TAG, 1))
    except BrokenImageError:
        return 1
    return orientation if orientation in UPRIGHT else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """A new 8-bit RGB image with the colours a viewer would show."""
    if depth.is_grey(image):
        image = depth.grey(image)
    return on_ground(image)


def _from_array(array: npt.NDArray[Any]) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or array.size == 0:
        raise BrokenImageError(
            f"an array of shape {array.shape} and type {array.dtype} is not an image: give uint8 [H, W], "
            "[H, W, 1], [H, W, 3] or [H, W, 4] with values 0..255"
        )
    if array.ndim == 3 and channels == 1:
        array = array[:, :, 0]
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array)))
