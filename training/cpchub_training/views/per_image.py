"""The same random views as `views.batched`, but image by image on the CPU, from encoded files of any size.

The official code of the methods makes them in this way: it crops the full image and resizes the crop with Pillow's
antialiasing. Only the pixels that the crop needs are decoded: a JPEG is read at the smallest scale that does not
enlarge the crop. For images that are stored as small squares, `Views` is much faster.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Generator, Tensor
from torchvision.transforms import functional as F

from cpchub.media.damage import damage_as_failure
from cpchub.media.decode import EncodedImage
from cpchub_training.views.batched import crop
from cpchub_training.views.settings import Views

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def image_view(data: bytes, views: Views, generator: Generator) -> Tensor:
    """One random view of an encoded image: float32 `[3, size, size]` in [0, 1].

    Raises BrokenImageError for bytes that are not an image.
    """
    x = _cropped(EncodedImage(data), views, generator)
    view = F.pil_to_tensor(x).float() / 255
    if views.flip and _draw(generator) < views.flip:
        view = view.flip(-1)
    if views.grey_first:
        view = _grey(view, views, generator)
    if views.jitter_p and _draw(generator) < views.jitter_p:
        view = _jitter(view, views, generator)
    if not views.grey_first:
        view = _grey(view, views, generator)
    if views.blur_p and _draw(generator) < views.blur_p:
        sigma = _draw(generator, *views.blur_sigma)
        view = F.gaussian_blur(view, [2 * max(1, views.size // 20) + 1] * 2, [sigma, sigma])
    if views.solarize_p and _draw(generator) < views.solarize_p:
        view = F.solarize(view, 0.5)
    return view.clamp(0, 1)


def _cropped(image: EncodedImage, views: Views, generator: Generator) -> Image.Image:
    """A random crop of the upright image, resized; only its share of the pixels is decoded."""
    width, height = image.size
    w, h = (float(share) for share in crop(views, 1, width / height, torch.device("cpu"), generator))
    left, top = _draw(generator) * (1 - w), _draw(generator) * (1 - h)
    # at least one decoded pixel for each of the view; a JPEG has some scales only, and the next finer one is taken
    upright = image.rgb((max(1, int(views.size / w)), max(1, int(views.size / h))))
    width, height = upright.size
    box = (left * width, top * height, (left + w) * width, (top + h) * height)
    with damage_as_failure():
        return upright.resize((views.size, views.size), _FILTERS[views.interpolation], box=box)


def _jitter(x: Tensor, views: Views, generator: Generator) -> Tensor:
    """torchvision's ColorJitter."""
    operations = [
        (F.adjust_brightness, views.brightness),
        (F.adjust_contrast, views.contrast),
        (F.adjust_saturation, views.saturation),
    ]
    factors = [_draw(generator, max(0.0, 1 - strength), 1 + strength) for _, strength in operations]
    shift = _draw(generator, -views.hue, views.hue)
    for i in torch.randperm(4, generator=generator).tolist():
        if i == 3:
            x = F.adjust_hue(x, shift) if views.hue else x
        else:
            x = operations[i][0](x, factors[i])
    return x


def _grey(x: Tensor, views: Views, generator: Generator) -> Tensor:
    if views.grey_p and _draw(generator) < views.grey_p:
        return F.rgb_to_grayscale(x, num_output_channels=3)
    return x


def _draw(generator: Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + float(torch.rand((), generator=generator)) * (high - low)
