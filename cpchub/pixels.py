"""timm's evaluation transform without its detours: 8-bit pixels from each picture, normalised as a whole batch.

Only the part of the picture that the crop keeps is resized, and pixels stay in the order in which they lie in memory,
which is also the one that convolutions are fastest in. The values are those of the transform up to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Normalize, Resize

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Pixels:
    """Resize, centre crop and normalisation, as timm would do them. `of` tells whether a transform is just that."""

    def __init__(
        self, side: int, crop: tuple[int, int], filter: Image.Resampling, mean: Any, std: Any, channels: int
    ) -> None:
        self.side, self.crop, self.filter = side, crop, filter
        self.mode = "L" if channels == 1 else "RGB"
        self.scale = 1 / (255 * torch.as_tensor(std, dtype=torch.float32))[:, None, None]
        self.shift = -(torch.as_tensor(mean, dtype=torch.float32) / torch.as_tensor(std))[:, None, None]

    @classmethod
    def of(cls, transform: Any, channels: int) -> Pixels | None:
        """The same steps as a transform of timm, or None where it has others."""
        steps = list(getattr(transform, "transforms", []))
        if len(steps) != 4 or channels not in (1, 3):
            return None
        resize, crop, tensor, normalize = steps
        if type(resize) is not Resize or type(crop) is not CenterCrop or type(normalize) is not Normalize:
            return None
        sized = isinstance(resize.size, int) and resize.max_size is None
        method = PILLOW.get(getattr(resize.interpolation, "value", ""))
        if not sized or method is None or type(tensor).__name__ != "MaybeToTensor":
            return None
        return cls(resize.size, tuple(crop.size), method, normalize.mean, normalize.std, channels)

    def prepare(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """One picture as `[H, W, channels]`."""
        if image.mode != self.mode:
            image = image.convert(self.mode)
        width, height = image.size
        short = min(width, height)
        resized = (
            (self.side, self.side * height // width) if width == short else (self.side * width // height, self.side)
        )
        rows, columns = self.crop
        if resized[0] < columns or resized[1] < rows:  # the crop pads; rare enough to do as it is told
            image = _padded(image.resize(resized, self.filter), columns, rows)
        else:
            left, top = round((resized[0] - columns) / 2.0), round((resized[1] - rows) / 2.0)
            across, down = width / resized[0], height / resized[1]
            box = (left * across, top * down, (left + columns) * across, (top + rows) * down)
            image = image.resize((columns, rows), self.filter, box=box)
        pixels = np.asarray(image)
        return pixels[:, :, None] if self.mode == "L" else pixels

    def normalise(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """uint8 `[B, H, W, channels]` to `[B, channels, H, W]`, channels last in memory, on the same device."""
        x = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
        return x.mul_(self.scale.to(x.device)).add_(self.shift.to(x.device)).to(dtype)


def _padded(image: Image.Image, columns: int, rows: int) -> Image.Image:
    """Centre crop of a picture that is smaller than the crop, black around it, as torchvision places it."""
    width, height = image.size
    wide, high = max(width, columns), max(height, rows)
    canvas = Image.new(image.mode, (wide, high))
    canvas.paste(image, ((wide - width) // 2, (high - height) // 2))
    left, top = round((wide - columns) / 2.0), round((high - rows) / 2.0)
    return canvas.crop((left, top, left + columns, top + rows))
