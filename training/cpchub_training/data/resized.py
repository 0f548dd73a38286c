"""What is read of a large image while it trains: a smaller copy, made of the file alone, and the same in every epoch.

Views are drawn from the smaller copy in the first epoch too. So it makes no difference to a run whether a copy was kept
(`cpchub_training.data.kept_images`) or is made again.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from cpchub.media.crop import middle
from cpchub.media.damage import damage_as_failure
from cpchub.media.decode import EncodedImage, decode_bytes
from cpchub_training.data.listing import square
from cpchub_training.views.settings import Views

ENLARGED = 1.5  # an image is made smaller where its short side is more than so many times what is needed
QUALITY = 95
SMALLEST = 0.01  # the smallest crop that a copy has pixels for


class Copy(Protocol):
    """A way to make an image smaller. `name` differs where two copies of one file may differ."""

    @property
    def name(self) -> str: ...

    def make(self, data: bytes) -> bytes:
        """The copy of an encoded image. Raises BrokenImageError."""


@dataclass(frozen=True)
class Square:
    """The centre square of an image, `size` pixels a side, as bytes `[3, size, size]`: for views made on the device."""

    size: int

    @property
    def name(self) -> str:
        return f"square-{self.size}"

    def make(self, data: bytes) -> bytes:
        return square(data, self.size).numpy().tobytes()


@dataclass(frozen=True)
class Smaller:
    """An encoded image whose short side has `side` pixels, a JPEG without subsampled colours.

    An image that is not much larger stays as it is.
    """

    side: int

    @property
    def name(self) -> str:
        return f"side-{self.side}-jpeg-{QUALITY}"

    @classmethod
    def of_views(cls, views: Views) -> Smaller:
        """What views need that are cropped image by image: in the smallest crop a pixel for each of the view.

        A crop of a share s of the image, r times as wide as high, has a short side of sqrt(s min(r, 1/r)) times the
        image's short side or more. With ratios from 3/4 on, crops from 0.08 on need 4.1 times the size of the view, and
        crops from 0.2 on 2.6 times. Crops below 0.01 may be enlarged.
        """
        low, high = views.crop_ratio
        return cls(math.ceil(views.size / math.sqrt(max(SMALLEST, views.crop_scale[0]) * min(low, 1 / high, 1.0))))

    def make(self, data: bytes) -> bytes:
        if min(EncodedImage(data).stored_size) <= ENLARGED * self.side:
            return data
        with damage_as_failure():
            image = middle(decode_bytes(data, size=self.side).image)
            scale = self.side / min(image.size)
            width, height = (max(self.side, round(length * scale)) for length in image.size)
            written = io.BytesIO()
            image.resize((width, height), Image.Resampling.BICUBIC).save(
                written, "JPEG", quality=QUALITY, subsampling=0
            )
            return written.getvalue()
