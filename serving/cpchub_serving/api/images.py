"""Images of a request: from base64 or bytes to what the encoder takes. Nothing is fetched or read from a disk."""

from __future__ import annotations

import base64
import binascii
import re

from PIL import Image

from cpchub.catalog.spec import ModelSpec
from cpchub.media.decode import EncodedImage, decode_bytes, resize_side
from cpchub_serving.api.failures import Refused

DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w.+=-]+)*;base64,", re.IGNORECASE)
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def decoded(text: str, which: int) -> bytes:
    """The bytes of image number `which`, given as a data URL or as base64. Raises Refused for anything else."""
    header = DATA_URL.match(text)
    if header is None and ADDRESS.match(text):
        raise Refused(400, f"image {which} is an address, and none is fetched; send the image as base64")
    payload = text[header.end() :] if header else text
    try:
        data = base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(
            400, f"image {which} is not base64 ({error}); send base64, or data:image/...;base64,..."
        ) from error
    if not data:
        raise Refused(400, f"image {which} is empty")
    return data


def read(data: bytes, which: int, spec: ModelSpec, most_pixels: int) -> Image.Image:
    """The image, upright and RGB, reduced while it is decoded as `Encoder.encode` does.

    Raises Refused where it has more pixels than are allowed, BrokenImageError where it cannot be decoded.
    """
    width, height = EncodedImage(data).stored_size
    if width * height > most_pixels:
        raise Refused(
            413, f"image {which} has {width} x {height} pixels, more than {most_pixels:,}; send a smaller copy"
        )
    return decode_bytes(data, size=resize_side(spec.input_size, spec.crop_pct)).image
