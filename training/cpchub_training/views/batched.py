"""Random views of images: the augmentations of the contrastive methods, batched, with parameters drawn per image.

The input is a batch of uint8 images, the output a batch of float views in [0, 1] on the same device; there is no loop
over images. All randomness comes from one generator, which the loop seeds from (seed, step, rank), so a resumed run
sees the same views.
Geometry (crop, flip, rotation, shear, elastic) is one sampling grid; colour follows torchvision's definitions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


@dataclass(frozen=True)
class Views:
    """One distribution of views. Probabilities are per image; strengths follow torchvision's names and meaning.

    The defaults are SimCLR's for images of CIFAR size (arXiv 2002.05709, appendix B.9: strength 0.5, no blur).
    """

    size: int = 32
    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    jitter_p: float = 0.8
    grey_p: float = 0.2
    grey_first: bool = False  # before the jitter, as InstDisc and MoCo v1 do; then it can be coloured by nothing
    blur_p: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_p: float = 0.0
    gamma: float = 0.0  # exponent exp(U(-gamma, gamma))
    rotation: float = 0.0  # degrees, +-
    shear: float = 0.0  # degrees, +-
    elastic: float = 0.0  # largest displacement, as a share of the image's side
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    padding: Literal["reflection", "border", "zeros"] = "reflection"  # what lies outside the image

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """One random view of each image: `[N, C, H, W]` uint8 -> `[N, C, size, size]` float32 in [0, 1]."""
        x = images.float() / 255
        x = F.grid_sample(
            x, self._grid(x, generator), mode=self.interpolation, padding_mode=self.padding, align_corners=False
        )
        if self.interpolation == "bicubic":
            x = x.clamp(0, 1)
        if self.grey_first:
            x = self._grey(x, generator)
        if self.jitter_p and x.shape[1] == 3:
            x = self._jitter(x, generator)
        if self.gamma:
            exponent = (uniform(x, generator, -self.gamma, self.gamma)).exp()
            x = x.clamp(min=1e-6) ** exponent
        if not self.grey_first:
            x = self._grey(x, generator)
        if self.blur_p:
            x = torch.where(chance(x, generator, self.blur_p), self._blur(x, generator), x)
        if self.solarize_p:
            x = torch.where(chance(x, generator, self.solarize_p) & (x >= 0.5), 1 - x, x)
        return x.clamp(0, 1)

    def _grid(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Where each pixel of each view is read: `[N, size, size, 2]` in [-1, 1], random resized crop and the rest."""
        n, _, height, width = x.shape
        w, h = self.crop(n, width / height, x.device, generator)
        cx = (torch.rand(n, device=x.device, generator=generator) * 2 - 1) * (1 - w)
        cy = (torch.rand(n, device=x.device, generator=generator) * 2 - 1) * (1 - h)
        sign = 1 - 2 * (torch.rand(n, device=x.device, generator=generator) < self.flip).float()
        angle, shear = (
            torch.deg2rad(uniform(x, generator, -limit, limit).flatten()) if limit else torch.zeros_like(w)
            for limit in (self.rotation, self.shear)
        )
        cos, sin, slant = angle.cos(), angle.sin(), shear.tan()
        theta = torch.stack(
            [
                torch.stack([w * sign * cos, w * (slant * cos - sin), cx], dim=1),
                torch.stack([h * sign * sin, h * (slant * sin + cos), cy], dim=1),
            ],
            dim=1,
        )
        grid = F.affine_grid(theta, [n, 1, self.size, self.size], align_corners=False)
        if self.elastic:
            coarse = torch.rand(n, 2, 4, 4, device=x.device, generator=generator) * 2 - 1
            field = F.interpolate(coarse, size=(self.size, self.size), mode="bicubic", align_corners=False)
            grid = grid + 2 * self.elastic * field.permute(0, 2, 3, 1)
        return grid

    def crop(self, n: int, aspect: float, device: torch.device, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Width and height of n crops, `[n]` each, as shares of the sides of images `aspect` times as wide as high.

        As torchvision's RandomResizedCrop: of ten draws the first that fits into the image.
        """
        low, high = (torch.tensor(r).log().item() for r in self.crop_ratio)
        draws = torch.rand(2, 10, n, device=device, generator=generator)
        area = self.crop_scale[0] + draws[0] * (self.crop_scale[1] - self.crop_scale[0])
        ratio = (low + draws[1] * (high - low)).exp()
        w, h = (area * ratio / aspect).sqrt(), (area / ratio * aspect).sqrt()
        largest = max(1.0, self.crop_scale[1])  # a scale above 1 shows more than the image
        fits = (w <= largest) & (h <= largest)
        first = fits.int().argmax(0, keepdim=True)
        return w.gather(0, first)[0].clamp(max=largest), h.gather(0, first)[0].clamp(max=largest)

    def _jitter(self, x: Tensor, generator: Generator | None) -> Tensor:
        """torchvision's ColorJitter; factors drawn per image, the order of the four operations per batch."""

        def factor(strength: float) -> Tensor:
            return uniform(x, generator, max(0.0, 1 - strength), 1 + strength)

        brightness, contrast, saturation = (factor(s) for s in (self.brightness, self.contrast, self.saturation))
        hue = uniform(x, generator, -self.hue, self.hue)
        operations = [
            lambda y: y * brightness,
            lambda y: torch.lerp(grey(y).mean((1, 2, 3), keepdim=True), y, contrast),
            lambda y: torch.lerp(grey(y), y, saturation),
            lambda y: shift_hue(y, hue) if self.hue else y,
        ]
        y = x
        for i in random_order(4, generator):
            y = operations[i](y).clamp(0, 1)
        return torch.where(chance(x, generator, self.jitter_p), y, x)

    def _grey(self, x: Tensor, generator: Generator | None) -> Tensor:
        if not self.grey_p or x.shape[1] != 3:
            return x
        return torch.where(chance(x, generator, self.grey_p), grey(x), x)

    def _blur(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Gaussian blur, sigma drawn per image, kernel a tenth of the side (google-research/simclr)."""
        n, channels, size, _ = x.shape
        half = max(1, size // 20)
        sigma = uniform(x, generator, *self.blur_sigma).reshape(n, 1)
        offsets = torch.arange(-half, half + 1, device=x.device)
        kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
        kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, dim=0)
        y = F.pad(x, (half,) * 4, mode="reflect").reshape(1, n * channels, size + 2 * half, size + 2 * half)
        y = F.conv2d(y, kernel[:, None, :, None], groups=n * channels)
        y = F.conv2d(y, kernel[:, None, None, :], groups=n * channels)
        return y.reshape(n, channels, size, size)


def uniform(x: Tensor, generator: Generator | None, low: float, high: float) -> Tensor:
    """One draw an image, shaped to broadcast over `[N, C, H, W]`."""
    return torch.rand(len(x), 1, 1, 1, device=x.device, generator=generator) * (high - low) + low


def chance(x: Tensor, generator: Generator | None, p: float) -> Tensor:
    return torch.rand(len(x), 1, 1, 1, device=x.device, generator=generator) < p


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
    value, chroma = x.amax(1, keepdim=True), x.amax(1, keepdim=True) - x.amin(1, keepdim=True)
    r, g, b = x.split(1, dim=1)
    safe = chroma.clamp(min=1e-8)
    sector = torch.where(value == r, (g - b) / safe, torch.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4))
    hue = sector / 6 + shift
    # each channel of the result is value - chroma * (how far the hue is from that channel's own), Smith 1978
    n = torch.arange(5.0, 0.0, -2.0, device=x.device).reshape(1, 3, 1, 1)
    k = (n + hue * 6) % 6
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)
