"""timm's evaluation transform without its detours: 8-bit pixels from each image, normalised as a whole batch.

Pixels stay in the order in which they lie in memory, which is also the one that convolutions are fastest in. The 8-bit
values are those of the transform, the normalised ones are so up to float32 rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import CenterCrop, Normalize, Resize

from cpchub.encoders.fast.squares import Squares
from cpchub.media.crop import LONGEST, middle

PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Pixels(Squares):
    """Resize, centre crop and normalisation, as timm would do them. `of` tells whether a transform is just that."""

    def __init__(
        self, side: int, crop: tuple[int, int], filter: Image.Resampling, mean: Any, std: Any, channels: int
    ) -> None:
        mean, std = (torch.as_tensor(each, dtype=torch.float32).flatten() for each in (mean, std))
        super().__init__(side, crop, filter, mean.tolist(), std.tolist(), channels)
        self.scale = 1 / (255 * std)[:, None, None]
        self.shift = -(mean / std)[:, None, None]

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

    def prepare_tensor(self, image: Tensor) -> Tensor:
        """uint8 `[channels, H, W]` as `prepare` makes it, up to rounding, on the device that it is on."""
        (width, height), (left, top) = self._fit(image.shape[2], image.shape[1])
        rows, columns = self.crop
        method = {value: name for name, value in PILLOW.items()}[self.filter]
        resized = nn.functional.interpolate(image[None].float(), (height, width), mode=method, antialias=True)[0]
        cropped = nn.functional.pad(resized, (-left, left + columns - width, -top, top + rows - height))
        return cropped.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0)

    def normalise(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """uint8 `[B, H, W, channels]` to `[B, channels, H, W]`, channels last in memory, on the same device."""
        x = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
        return x.mul_(self.scale.to(x.device)).add_(self.shift.to(x.device)).to(dtype)


def shown(transform: Any, image: Image.Image) -> Image.Image:
    """The image without the ends that a transform of timm would resize and then crop away; see `middle`."""
    steps = list(getattr(transform, "transforms", []))
    if len(steps) < 2 or type(steps[1]) is not CenterCrop:
        return image
    resize = steps[0]
    if type(resize) is Resize and isinstance(resize.size, int) and resize.max_size is None:
        return middle(image)
    if type(resize).__name__ == "ResizeKeepRatio" and resize.longest == 0:
        height, width = resize.size
        return middle(image, LONGEST * max(height / width, width / height))
    return image
