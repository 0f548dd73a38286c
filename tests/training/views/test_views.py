"""Views: what they return, that they repeat, and that they agree with torchvision's definitions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchvision.transforms import functional as TF
from torchvision.transforms import v2

from cpchub_training.views.batched import shift_hue
from cpchub_training.views.settings import Views

STILL = Views(size=16, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, jitter_p=0, grey_p=0)


def some_images(n: int = 8, side: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_a_view_without_any_change_is_the_image() -> None:
    x = some_images()
    torch.testing.assert_close(STILL(x), x.float() / 255, atol=1e-5, rtol=0)


def test_views_are_floats_in_range_and_of_the_size_asked() -> None:
    view = Views(size=24, blur_p=0.5, solarize_p=0.5, gamma=0.3, rotation=20, shear=10, elastic=0.1)(
        some_images(side=16)
    )
    assert view.shape == (8, 3, 24, 24)
    assert view.dtype == torch.float32
    assert view.min() >= 0
    assert view.max() <= 1


def test_the_same_generator_state_gives_the_same_views_and_another_gives_others() -> None:
    x, views = some_images(), Views(size=16)
    a, b, c = (views(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_each_image_gets_its_own_parameters() -> None:
    same = some_images(1).expand(8, -1, -1, -1)
    view = Views(size=16)(same, torch.Generator().manual_seed(0))
    assert len({row.numpy().tobytes() for row in view}) == 8


def test_drawing_views_leaves_the_images_as_they_are() -> None:
    x = some_images().float()
    before = x.clone()
    Views(size=16, hue=0.0, flip=0.0, crop_scale=(1, 1))(x)
    assert torch.equal(x, before)


def test_a_certain_flip_mirrors() -> None:
    x = some_images()
    torch.testing.assert_close(replace(STILL, flip=1)(x), x.float().flip(-1) / 255, atol=1e-5, rtol=0)


def test_certain_grey_is_torchvisions() -> None:
    x = some_images()
    expected = TF.rgb_to_grayscale(x.float() / 255, num_output_channels=3)
    torch.testing.assert_close(replace(STILL, grey_p=1)(x), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shift", [-0.5, -0.1, 0.0, 0.2])
def test_hue_shift_is_torchvisions(shift: float) -> None:
    x = some_images().float() / 255
    expected = TF.adjust_hue(x, shift)
    torch.testing.assert_close(shift_hue(x, torch.full((8, 1, 1, 1), shift)), expected, atol=1e-5, rtol=0)


def test_a_quarter_crop_shows_a_quarter() -> None:
    """A gradient from 0 to 1: a crop of scale 0.25 spans half the side, so its values span about half."""
    ramp = (torch.linspace(0, 255, 64).to(torch.uint8)).expand(200, 3, 64, 64).contiguous()
    view = replace(STILL, size=64, crop_scale=(0.25, 0.25))(ramp, torch.Generator().manual_seed(0))
    span = (view.amax((1, 2, 3)) - view.amin((1, 2, 3))) * 64 / 63
    torch.testing.assert_close(span.mean(), torch.tensor(0.5), atol=0.02, rtol=0)


def test_colour_jitter_agrees_with_torchvision_in_distribution() -> None:
    x = some_images(1, side=8).expand(3000, -1, -1, -1)
    mine = replace(STILL, size=8, jitter_p=0.8)(x, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    theirs = torch.stack([jitter(image) for image in x.float() / 255])
    torch.testing.assert_close(mine.mean(0), theirs.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(mine.std(0), theirs.std(0), atol=0.03, rtol=0)


def test_random_crops_agree_with_torchvision_in_distribution() -> None:
    ramp = torch.linspace(0, 255, 32).to(torch.uint8).expand(3, 32, 32)[None].expand(3000, -1, -1, -1)
    mine = replace(STILL, size=32, crop_scale=(0.2, 1), crop_ratio=(3 / 4, 4 / 3))(
        ramp, torch.Generator().manual_seed(0)
    )
    torch.manual_seed(0)
    crop = v2.RandomResizedCrop(32, scale=(0.2, 1), antialias=False)
    theirs = torch.stack([crop(image) for image in ramp.float() / 255])
    for statistic in (torch.mean, torch.std):
        torch.testing.assert_close(statistic(mine, 0), statistic(theirs, 0), atol=0.03, rtol=0)


def test_blur_of_a_large_sigma_smooths_and_keeps_the_mean() -> None:
    x = some_images(side=40)
    view = replace(STILL, size=40, blur_p=1, blur_sigma=(2, 2))(x)
    assert view.std() < (x.float() / 255).std() / 2
    torch.testing.assert_close(view.mean(), (x.float() / 255).mean(), atol=0.02, rtol=0)
