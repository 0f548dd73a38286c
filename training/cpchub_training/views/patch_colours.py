"""AutoAugment's operations on colours, batched, with a strength drawn for each patch.

Source: Cubuk et al., arXiv 1805.09501, table 6, which has sixteen operations. Five change the geometry and are part of
the sampling grid in `cpchub_training.views.patches`; the other eleven are here. Each maps patches `[N, 3, p, p]` in
[0, 1] to patches of the same shape. Ranges are the paper's, definitions those of Pillow and torchvision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from cpchub_training.views.batched import grey, uniform

MID_GREY = 0.5  # the value of cut-out and outside pixels: near zero after normalisation

Operation = Callable[[Tensor, Generator | None], Tensor]


def auto_contrast(x: Tensor, generator: Generator | None) -> Tensor:
    """Each channel from its darkest to its brightest value over the whole range."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


def invert(x: Tensor, generator: Generator | None) -> Tensor:
    return 1 - x


def equalize(x: Tensor, generator: Generator | None) -> Tensor:
    """Each channel with a flat histogram of 256 values, by Pillow's integer arithmetic."""
    n, channels, height, width = x.shape
    values = (x * 255).round().long().reshape(n * channels, height * width)
    counts = torch.zeros(n * channels, 256, dtype=torch.long, device=x.device)
    counts.scatter_add_(1, values, torch.ones_like(values))
    step = (height * width - counts.gather(1, values.amax(1, keepdim=True))) // 255
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    equal = table.gather(1, values).reshape(n, channels, height, width).to(x.dtype) / 255
    return torch.where(step.reshape(n, channels, 1, 1) > 0, equal, x)


def solarize(x: Tensor, generator: Generator | None) -> Tensor:
    """Invert the values above a threshold."""
    return torch.where(x >= uniform(x, generator, 0.0, 1.0), 1 - x, x)


def posterize(x: Tensor, generator: Generator | None) -> Tensor:
    """The first 4 to 8 bits of each value."""
    step = 2.0 ** uniform(x, generator, 0.0, 5.0).floor()
    return (x * 255 / step).floor() * step / 255


def contrast(x: Tensor, generator: Generator | None) -> Tensor:
    return torch.lerp(grey(x).mean((1, 2, 3), keepdim=True), x, _factor(x, generator))


def colour(x: Tensor, generator: Generator | None) -> Tensor:
    return torch.lerp(grey(x), x, _factor(x, generator))


def brightness(x: Tensor, generator: Generator | None) -> Tensor:
    return x * _factor(x, generator)


def sharpness(x: Tensor, generator: Generator | None) -> Tensor:
    """Blend with the patch smoothed by Pillow's 3x3 kernel: sharper or smoother. The border keeps its values."""
    kernel = torch.ones(x.shape[1], 1, 3, 3, device=x.device, dtype=x.dtype)
    kernel[:, :, 1, 1] = 5
    smooth = x.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(x, kernel / 13, groups=x.shape[1])
    return torch.lerp(smooth, x, _factor(x, generator))


def cutout(x: Tensor, generator: Generator | None) -> Tensor:
    """A grey square of up to 60/331 of the side."""
    half = uniform(x, generator, 0.0, 60 / 331) / 2
    position = (torch.arange(x.shape[-1], device=x.device) + 0.5) / x.shape[-1]
    down = (position[:, None] - uniform(x, generator, 0.0, 1.0)).abs() <= half
    across = (position - uniform(x, generator, 0.0, 1.0)).abs() <= half
    return x.masked_fill(down & across, MID_GREY)


def sample_pairing(x: Tensor, generator: Generator | None) -> Tensor:
    """Up to 40 % of another patch of the batch."""
    return torch.lerp(x, x.roll(1, dims=0), uniform(x, generator, 0.0, 0.4))


ON_COLOURS: tuple[Operation, ...] = (
    auto_contrast, invert, equalize, solarize, posterize, contrast, colour, brightness, sharpness, cutout,
    sample_pairing,
)  # fmt: skip


def change_histogram(x: Tensor, generator: Generator | None, strength: float = 1.0, pieces: int = 4) -> Tensor:
    """A random increasing curve for each channel of each patch, linear in `pieces` pieces, from 0 to 0 and 1 to 1.

    CPC v2 refers to De Fauw et al. 2018 for its change of the histogram, whose details are not public: this is ours.
    """
    n, channels, height, width = x.shape
    rise = torch.rand(n, channels, pieces, device=x.device, generator=generator).mul(2).sub(1).mul(strength).exp()
    curve = F.pad((rise / rise.sum(2, keepdim=True)).cumsum(2), (1, 0))
    place = x.reshape(n, channels, height * width) * pieces
    piece = place.long().clamp(max=pieces - 1)
    y = torch.lerp(curve.gather(2, piece), curve.gather(2, piece + 1), place - piece)
    return y.reshape(x.shape).contiguous(memory_format=torch.channels_last)


def _factor(x: Tensor, generator: Generator | None) -> Tensor:
    return uniform(x, generator, 0.1, 1.9)
