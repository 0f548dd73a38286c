"""Random views of images: the augmentations of the contrastive methods, batched, with parameters drawn per image.

The input is a batch of uint8 images, the output a batch of float views in [0, 1] on the same device; there is no loop
over images. All randomness comes from one generator, which the loop seeds from (seed, step), so a resumed run sees the
same views, on any number of ranks.
Geometry (crop, flip, rotation, shear, elastic) is one sampling grid; colour follows torchvision's definitions.
"""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from cpchub_training.views.part_of_batch import rand
from cpchub_training.views.settings import Views


def draw(views: Views, images: Tensor, generator: Generator | None = None) -> Tensor:
    """One random view of each image: `[N, C, H, W]` uint8 -> `[N, C, size, size]` float32 in [0, 1]."""
    x = images / 255
    x = F.grid_sample(
        x, _grid(views, x, generator), mode=views.interpolation, padding_mode=views.padding, align_corners=False
    )
    if views.interpolation == "bicubic":
        x = x.clamp(0, 1)
    if views.grey_first:
        x = _grey(views, x, generator)
    if views.jitter_p and x.shape[1] == 3:
        x = _jitter(views, x, generator)
    if views.gamma:
        exponent = (uniform(x, generator, -views.gamma, views.gamma)).exp()
        x = x.clamp(min=1e-6) ** exponent
    if not views.grey_first:
        x = _grey(views, x, generator)
    if views.blur_p:
        x = torch.where(chance(x, generator, views.blur_p), _blur(views, x, generator), x)
    if views.solarize_p:
        x = torch.where(chance(x, generator, views.solarize_p) & (x >= 0.5), 1 - x, x)
    return x.clamp(0, 1)


def _grid(views: Views, x: Tensor, generator: Generator | None) -> Tensor:
    """Where each pixel of each view is read: `[N, size, size, 2]` in [-1, 1], random resized crop and the rest."""
    n, _, height, width = x.shape
    w, h = crop(views, n, width / height, x.device, generator)
    cx = (rand(n, device=x.device, generator=generator) * 2 - 1) * (1 - w)
    cy = (rand(n, device=x.device, generator=generator) * 2 - 1) * (1 - h)
    sign = 1 - 2 * (rand(n, device=x.device, generator=generator) < views.flip).float()
    angle, shear = (
        torch.deg2rad(uniform(x, generator, -limit, limit).flatten()) if limit else torch.zeros_like(w)
        for limit in (views.rotation, views.shear)
    )
    cos, sin, slant = angle.cos(), angle.sin(), shear.tan()
    theta = torch.stack(
        [
            torch.stack([w * sign * cos, w * (slant * cos - sin), cx], dim=1),
            torch.stack([h * sign * sin, h * (slant * sin + cos), cy], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, [n, 1, views.size, views.size], align_corners=False)
    if views.elastic:
        coarse = rand(n, 2, 4, 4, device=x.device, generator=generator) * 2 - 1
        field = F.interpolate(coarse, size=(views.size, views.size), mode="bicubic", align_corners=False)
        grid = grid + 2 * views.elastic * field.permute(0, 2, 3, 1)
    return grid


def crop(
    views: Views, n: int, aspect: float, device: torch.device, generator: Generator | None
) -> tuple[Tensor, Tensor]:
    """Width and height of n crops, `[n]` each, as shares of the sides of images `aspect` times as wide as high.

    As torchvision's RandomResizedCrop: of ten draws the first that fits into the image.
    """
    low, high = (torch.tensor(r).log().item() for r in views.crop_ratio)
    draws = rand(2, 10, n, device=device, generator=generator, images=2)
    area = views.crop_scale[0] + draws[0] * (views.crop_scale[1] - views.crop_scale[0])
    ratio = (low + draws[1] * (high - low)).exp()
    w, h = (area * ratio / aspect).sqrt(), (area / ratio * aspect).sqrt()
    largest = max(1.0, views.crop_scale[1])  # a scale above 1 shows more than the image
    fits = (w <= largest) & (h <= largest)
    first = fits.int().argmax(0, keepdim=True)
    return w.gather(0, first)[0].clamp(max=largest), h.gather(0, first)[0].clamp(max=largest)


def _jitter(views: Views, x: Tensor, generator: Generator | None) -> Tensor:
    """torchvision's ColorJitter; factors drawn per image, the order of the four operations per batch."""

    def factor(strength: float) -> Tensor:
        return uniform(x, generator, max(0.0, 1 - strength), 1 + strength)

    brightness, contrast, saturation = (factor(s) for s in (views.brightness, views.contrast, views.saturation))
    hue = uniform(x, generator, -views.hue, views.hue)
    operations = [
        lambda y: y * brightness,
        lambda y: torch.lerp(grey(y).mean((1, 2, 3), keepdim=True), y, contrast),
        lambda y: torch.lerp(grey(y), y, saturation),
        lambda y: shift_hue(y, hue) if views.hue else y,
    ]
    y = x
    for i in random_order(4, generator):
        y = operations[i](y).clamp_(0, 1)
    return torch.where(chance(x, generator, views.jitter_p), y, x)


def _grey(views: Views, x: Tensor, generator: Generator | None) -> Tensor:
    if not views.grey_p or x.shape[1] != 3:
        return x
    return torch.where(chance(x, generator, views.grey_p), grey(x), x)


def _blur(views: Views, x: Tensor, generator: Generator | None) -> Tensor:
    """Gaussian blur, sigma drawn per image, kernel a tenth of the side (google-research/simclr)."""
    n, channels, size, _ = x.shape
    half = max(1, size // 20)
    sigma = uniform(x, generator, *views.blur_sigma).reshape(n, 1)
    offsets = torch.arange(-half, half + 1, device=x.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, dim=0)
    y = F.pad(x, (half,) * 4, mode="reflect").reshape(1, n * channels, size + 2 * half, size + 2 * half)
    y = F.conv2d(y, kernel[:, None, :, None], groups=n * channels)
    y = F.conv2d(y, kernel[:, None, None, :], groups=n * channels)
    return y.reshape(n, channels, size, size)


def uniform(x: Tensor, generator: Generator | None, low: float, high: float) -> Tensor:
    """One draw an image, shaped to broadcast over `[N, C, H, W]`."""
    return rand(len(x), 1, 1, 1, device=x.device, generator=generator) * (high - low) + low


def chance(x: Tensor, generator: Generator | None, p: float) -> Tensor:
    return rand(len(x), 1, 1, 1, device=x.device, generator=generator) < p


def random_order(n: int, generator: Generator | None) -> list[int]:
    """The numbers below n in random order, drawn without waiting for a GPU: its generator's state is on the host."""
    if generator is not None and generator.device.type != "cpu":
        state = hashlib.sha256(generator.get_state().numpy().tobytes()).digest()
        generator = Generator().manual_seed(int.from_bytes(state[:7], "little"))
    return torch.randperm(n, generator=generator).tolist()


def grey(x: Tensor) -> Tensor:
    """ITU-R 601 luma, `[N, 3, H, W]` -> `[N, 1, H, W]`, with torchvision's coefficients."""
    return 0.2989 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]


def shift_hue(x: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by `shift` of a full circle at constant saturation and value (HSV)."""
    value = x.amax(1, keepdim=True)
    chroma = value - x.amin(1, keepdim=True)
    r, g, b = x.split(1, dim=1)
    safe = chroma.clamp(min=1e-8)
    sector = torch.where(value == r, (g - b) / safe, torch.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4))
    # each channel of the result is value - chroma * (how far the hue is from that channel's own), Smith 1978; how far
    # is 1 up to a sixth from the opposite hue and 0 from two sixths on. Rounding is faster than a remainder.
    n = torch.arange(3.0, -2.0, -2.0, device=x.device).reshape(1, 3, 1, 1)
    from_opposite = n + (sector + shift * 6)
    from_opposite = from_opposite.sub_((from_opposite / 6).round_(), alpha=6).abs_()
    return value - chroma * (2 - from_opposite).clamp_(0, 1)
