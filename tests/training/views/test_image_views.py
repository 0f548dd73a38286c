"""Views made image by image are the batched ones in distribution, and decode no more than they need."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torch import Tensor

from cpchub.errors import BrokenImageError, RecipeError
from cpchub_training.views.per_image import image_view
from cpchub_training.views.settings import Views

N = 600


def scene(side: int = 64) -> Image.Image:
    """Two gradients and a red disc, so that crops, colours and blur all leave a trace."""
    y, x = np.mgrid[:side, :side] / (side - 1)
    disc = ((x - 0.3) ** 2 + (y - 0.6) ** 2) < 0.05
    rgb = np.stack([x * 0.6 + 0.4 * disc, y * 0.8, 0.2 + 0.5 * x * y], axis=-1)
    return Image.fromarray(np.round(rgb * 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def statistics(x: Tensor) -> dict[str, np.ndarray]:
    """What the operations move: brightness, contrast, saturation, hue, what is in view, and detail."""
    grey = x.mean(1)
    red, green, blue = x.mean((2, 3)).T
    return {
        "brightness": grey.mean((1, 2)).numpy(),
        "contrast": grey.std((1, 2)).numpy(),
        "saturation": (x.amax(1) - x.amin(1)).mean((1, 2)).numpy(),
        "hue": (red - green).numpy(),
        "blue": blue.numpy(),
        "left and right": (grey[:, :, :8].mean((1, 2)) - grey[:, :, -8:].mean((1, 2))).numpy(),
        "detail": (grey[:, 1:] - grey[:, :-1]).abs().mean((1, 2)).numpy(),
    }


KINDS = {
    "SimCLR at CIFAR size": Views(size=32),
    "MoCo v2": Views(size=32, blur_p=0.5),
    "MoCo v1": Views(size=32, hue=0.4, jitter_p=1, grey_first=True),
    "with solarization, bicubic": Views(size=32, crop_scale=(0.08, 1), interpolation="bicubic", solarize_p=0.2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_of_making_views_have_one_distribution(kind: str) -> None:
    views, image = KINDS[kind], scene()
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    batched = views(pixels.expand(N, -1, -1, -1), torch.Generator().manual_seed(0))
    generator, data = torch.Generator().manual_seed(1), encoded(image)
    single = torch.stack([image_view(data, views, generator) for _ in range(N)])
    a, b = statistics(batched), statistics(single)
    for name in a:
        assert ks_2samp(a[name], b[name]).pvalue > 1e-3, name


def test_a_difference_in_strength_would_be_noticed() -> None:
    views, image = Views(size=32), scene()
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    batched = replace(views, brightness=0.8)(pixels.expand(N, -1, -1, -1), torch.Generator().manual_seed(0))
    generator, data = torch.Generator().manual_seed(1), encoded(image)
    single = torch.stack([image_view(data, views, generator) for _ in range(N)])
    assert ks_2samp(statistics(batched)["brightness"], statistics(single)["brightness"]).pvalue < 1e-3


def test_a_view_repeats_with_its_generator() -> None:
    data, views = encoded(scene()), Views(size=16, blur_p=0.5)
    a, b, c = (image_view(data, views, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert (a.shape, a.dtype) == ((3, 16, 16), torch.float32)


WHOLE = Views(size=16, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, jitter_p=0, grey_p=0)


def test_an_image_with_an_orientation_is_shown_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(scene().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    upright = encoded(scene(), "JPEG", quality=95)
    a, b = (image_view(data, WHOLE, torch.Generator().manual_seed(0)) for data in (turned, upright))
    torch.testing.assert_close(a, b, atol=0.05, rtol=0)


def test_a_large_jpeg_is_decoded_at_the_scale_of_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, *a, **k: sizes.append(self.size) or resize(self, *a, **k))
    data = encoded(scene(1024), "JPEG")
    image_view(data, WHOLE, torch.Generator().manual_seed(0))
    image_view(data, replace(WHOLE, crop_scale=(0.01, 0.01)), torch.Generator().manual_seed(0))
    assert sizes == [(128, 128), (256, 256)]  # an eighth, the smallest there is; a tenth of the side needs 160 pixels


def test_bytes_that_are_no_image_are_refused() -> None:
    for data in (b"", b"not an image", encoded(scene(), "JPEG")[:400]):
        with pytest.raises(BrokenImageError):
            image_view(data, WHOLE, torch.Generator())


def test_what_only_the_device_can_do_is_refused_by_name() -> None:
    Views().check_per_image()
    for views in (Views(elastic=0.1), Views(rotation=5), Views(crop_scale=(0.5, 1.2))):
        with pytest.raises(RecipeError, match="--views-on device"):
            views.check_per_image()
