"""AutoAugment's colour operations on a batch of patches; each patch draws its own strength.

Source: Cubuk et al., arXiv 1805.09501, table 6, which has sixteen operations. Five change the geometry and are part of
the sampling grid in `cpchub_training.views.patches`. The other eleven are here. Each maps patches `[N, 3, p, p]` in
[0, 1] to patches of the same shape; the caller clamps the result to [0, 1]. The strengths are drawn from the paper's
ranges. The operations are defined as in Pillow and torchvision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from cpchub_training.views.batched import grey, uniform

MID_GREY = 0.5  # fills pixels that are cut out or lie outside the image: near zero after normalisation

Operation = Callable[[Tensor, Generator | None], Tensor]


def auto_contrast(x: Tensor, generator: Generator | None) -> Tensor:
    """Stretch each channel so that its darkest value becomes 0 and its brightest 1."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


def invert(x: Tensor, generator: Generator | None) -> Tensor:
    return 1 - x


def equalize(x: Tensor, generator: Generator | None) -> Tensor:
    """Flatten the histogram of each channel, in 256 levels, with Pillow's integer arithmetic (`ImageOps.equalize`)."""
    n, channels, height, width = x.shape
    values = (x * 255).round().long().reshape(n * channels, height * width)
    counts = torch.zeros(n * channels, 256, dtype=torch.long, device=x.device)
    counts.scatter_add_(1, values, torch.ones_like(values))
    step = (height * width - counts.gather(1, values.amax(1, keepdim=True))) // 255  # pixels per output level
    below = counts.cumsum(1) - counts
    new_level = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    equal = new_level.gather(1, values).reshape(n, channels, height, width).to(x.dtype) / 255
    return torch.where(step.reshape(n, channels, 1, 1) > 0, equal, x)  # with a step of 0, Pillow changes nothing


def solarize(x: Tensor, generator: Generator | None) -> Tensor:
    """Invert the values from a threshold on, which is drawn from [0, 1]."""
    return torch.where(x >= uniform(x, generator, 0.0, 1.0), 1 - x, x)


def posterize(x: Tensor, generator: Generator | None) -> Tensor:
    """Keep the highest 4 to 8 of the 8 bits of each value."""
    step = 2.0 ** uniform(x, generator, 0.0, 5.0).floor()  # clears 0 to 4 bits
    return (x * 255 / step).floor() * step / 255


def contrast(x: Tensor, generator: Generator | None) -> Tensor:
    return torch.lerp(grey(x).mean((1, 2, 3), keepdim=True), x, _factor(x, generator))


def colour(x: Tensor, generator: Generator | None) -> Tensor:
    return torch.lerp(grey(x), x, _factor(x, generator))


def brightness(x: Tensor, generator: Generator | None) -> Tensor:
    return x * _factor(x, generator)


def sharpness(x: Tensor, generator: Generator | None) -> Tensor:
    """Blend each patch with a copy smoothed by Pillow's 3x3 kernel: a factor above 1 sharpens, one below 1 smooths.

    The outermost pixels stay as they are.
    """
    kernel = torch.ones(x.shape[1], 1, 3, 3, device=x.device, dtype=x.dtype)
    kernel[:, :, 1, 1] = 5
    smooth = x.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(x, kernel / 13, groups=x.shape[1])
    return torch.lerp(smooth, x, _factor(x, generator))


def cutout(x: Tensor, generator: Generator | None) -> Tensor:
    """Cover a square with grey. Its side is up to 60/331 of the patch's: the paper's 60 pixels of 331."""
    half = uniform(x, generator, 0.0, 60 / 331) / 2
    centre = (torch.arange(x.shape[-1], device=x.device) + 0.5) / x.shape[-1]  # of each pixel, as a share of the side
    rows = (centre[:, None] - uniform(x, generator, 0.0, 1.0)).abs() <= half
    columns = (centre - uniform(x, generator, 0.0, 1.0)).abs() <= half
    return x.masked_fill(rows & columns, MID_GREY)


def sample_pairing(x: Tensor, generator: Generator | None) -> Tensor:
    """Mix in up to 40 % of another patch of the batch."""
    return torch.lerp(x, x.roll(1, dims=0), uniform(x, generator, 0.0, 0.4))


ON_COLOURS: tuple[Operation, ...] = (
    auto_contrast, invert, equalize, solarize, posterize, contrast, colour, brightness, sharpness, cutout,
    sample_pairing,
)  # fmt: skip


def change_histogram(x: Tensor, generator: Generator | None, strength: float = 1.0, pieces: int = 4) -> Tensor:
    """Map the values of each channel of each patch by a random increasing curve, which keeps 0 and 1.

    The curve consists of `pieces` straight pieces. Their slopes are exp(U(-strength, strength)), up to a common factor.

    CPC v2 takes its histogram change from De Fauw et al. 2018, whose details are not public. This definition is ours.
    """
    n, channels, height, width = x.shape
    slopes = torch.rand(n, channels, pieces, device=x.device, generator=generator).mul(2).sub(1).mul(strength).exp()
    curve = F.pad((slopes / slopes.sum(2, keepdim=True)).cumsum(2), (1, 0))  # its values at 0, 1 / pieces, ..., 1
    position = x.reshape(n, channels, height * width) * pieces
    piece = position.long().clamp(max=pieces - 1)
    y = torch.lerp(curve.gather(2, piece), curve.gather(2, piece + 1), position - piece)
    return y.reshape(x.shape).contiguous(memory_format=torch.channels_last)


def _factor(x: Tensor, generator: Generator | None) -> Tensor:
    """The paper's range for blends: 1 keeps a patch, less weakens the property, more strengthens it."""
    return uniform(x, generator, 0.1, 1.9)
