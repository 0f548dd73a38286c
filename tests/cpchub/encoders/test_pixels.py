"""timm's evaluation transform, taken apart, gives the pixels of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.data import create_transform

from cpchub.encoders.fast.pixels import Pixels
from tests.cpchub.images import an_image

SIZES = [(500, 375), (375, 500), (333, 501), (64, 64), (40, 300), (31, 30)]


def transform(**options):  # type: ignore[no-untyped-def]
    return create_transform(
        **{"input_size": (3, 56, 56), "interpolation": "bicubic", "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}
        | options
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "options",
    [
        {"crop_pct": 0.875},
        {"crop_pct": 1.0, "interpolation": "bilinear"},
        {"crop_pct": 0.9, "input_size": (3, 48, 48)},
    ],
)
def test_the_tensor_is_the_one_of_the_transform(size: tuple[int, int], options: dict[str, object]) -> None:
    theirs = transform(**options)
    pixels = Pixels.of(theirs, 3)
    assert pixels is not None
    image = an_image(sum(size), size)
    ours = pixels.normalise(torch.from_numpy(pixels.prepare(image)[None]))[0]
    assert torch.allclose(ours, theirs(image), atol=1e-5)


def test_an_image_smaller_than_the_crop_gets_the_same_black_around_it() -> None:
    theirs = transform(crop_pct=1.0)
    pixels = Pixels.of(theirs, 3)
    assert pixels is not None
    pixels.side = theirs.transforms[0].size = 41  # shorter than the crop of 56
    for size in SIZES:
        image = an_image(1, size)
        ours = pixels.normalise(torch.from_numpy(pixels.prepare(image)[None]))[0]
        assert torch.allclose(ours, theirs(image), atol=1e-5), size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("side", "options"), [(64, {}), (56, {"interpolation": "bilinear"}), (41, {}), (55, {})], ids=str
)
def test_a_tensor_is_prepared_as_an_image_is(size: tuple[int, int], side: int, options: dict[str, object]) -> None:
    pixels = Pixels.of(transform(**options), 3)
    assert pixels is not None
    pixels.side = side  # where shorter than the crop of 56, with black around
    image = an_image(sum(size), size)
    ours = pixels.prepare_tensor(torch.from_numpy(np.array(image)).permute(2, 0, 1)).numpy()
    difference = np.abs(ours.astype(int) - pixels.prepare(image).astype(int))
    assert difference.max() <= 3
    assert difference.mean() < 0.3


def test_grey_networks_get_one_channel() -> None:
    pixels = Pixels.of(transform(input_size=(1, 56, 56), mean=(0.5,), std=(0.25,)), 1)
    assert pixels is not None
    assert pixels.prepare(an_image(2)).shape == (56, 56, 1)
    assert pixels.normalise(torch.zeros(2, 56, 56, 1, dtype=torch.uint8)).shape == (2, 1, 56, 56)


def test_a_batch_is_laid_out_channels_last() -> None:
    pixels = Pixels.of(transform(), 3)
    assert pixels is not None
    batch = torch.from_numpy(np.stack([pixels.prepare(an_image(n)) for n in range(2)]))
    assert pixels.normalise(batch).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("options", [{"crop_mode": "squash"}, {"crop_mode": "border"}, {"interpolation": "nearest"}])
def test_other_transforms_are_left_to_timm(options: dict[str, object]) -> None:
    assert Pixels.of(transform(**options), 3) is None
