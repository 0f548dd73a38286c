"""timm's evaluation transform up to its last step, without torch: 8-bit pixels of one image, resized and cropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cpchub.media.crop import middle


class Squares:
    """Resize, centre crop and the numbers to normalise with, as timm has them.

    side: pixels of the short side after the resize. crop: rows and columns. filter: how to resize. mean, std: of a
    channel, for values of 0..1. channels: 1 or 3.
    """

    def __init__(
        self,
        side: int,
        crop: tuple[int, int],
        filter: Image.Resampling,
        mean: Sequence[float],
        std: Sequence[float],
        channels: int,
    ) -> None:
        self.side, self.crop, self.filter = side, crop, filter
        self.mean, self.std, self.channels = tuple(map(float, mean)), tuple(map(float, std)), channels
        self.mode = "L" if channels == 1 else "RGB"

    def record(self) -> dict[str, Any]:
        """The same as JSON, for `from_record`."""
        return {
            "side": self.side,
            "crop": list(self.crop),
            "filter": self.filter.name,
            "mean": list(self.mean),
            "std": list(self.std),
            "channels": self.channels,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Squares:
        """What `record` recorded. Raises KeyError, TypeError or ValueError for anything else."""
        rows, columns = record["crop"]
        filter = Image.Resampling[record["filter"]]
        return cls(record["side"], (rows, columns), filter, record["mean"], record["std"], record["channels"])

    def prepare(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """One image as `[H, W, channels]`."""
        if image.mode != self.mode:
            image = image.convert(self.mode)
        image = middle(image)
        resized, (left, top) = self._fit(*image.size)
        rows, columns = self.crop
        if image.size != resized:
            image = image.resize(resized, self.filter)
        if image.size != (columns, rows):
            image = image.crop((left, top, left + columns, top + rows))
        pixels = np.asarray(image)
        return pixels[:, :, None] if self.mode == "L" else pixels

    def test_images(self, count: int) -> npt.NDArray[np.uint8]:
        """Images `[count, H, W, channels]` with large and small structures; always the same ones."""
        rng = np.random.default_rng(0)
        rows, columns = self.crop
        images = np.zeros((count, rows, columns, self.channels))
        for cell in (1, 4, 16, 64):
            coarse = rng.uniform(0, 64, (count, -(-rows // cell), -(-columns // cell), self.channels))
            images += coarse.repeat(cell, 1).repeat(cell, 2)[:, :rows, :columns]
        return images.astype(np.uint8)

    def _fit(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Width and height that an image is resized to, and left and top of the crop from that."""
        short = min(width, height)
        resized = (
            (self.side, self.side * height // width) if width == short else (self.side * width // height, self.side)
        )
        return resized, (_margin(resized[0], self.crop[1]), _margin(resized[1], self.crop[0]))


def _margin(length: int, wanted: int) -> int:
    """Where torchvision's centre crop begins; before the image's edge where that is too short, for black to fill."""
    return round((length - wanted) / 2.0) if length >= wanted else -((wanted - length) // 2)
