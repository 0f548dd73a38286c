"""Lab and YCbCr against their standards, and a network of two paths that keeps timm's contract."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor

import cpchub.architectures  # noqa: F401  (registers the networks)
from cpchub.architectures.colour_spaces import lab, scaled_lab, scaled_ycbcr
from cpchub.errors import ArgumentError

NARROW = {"path_args": {"channels": [8, 16, 16, 32], "layers": [1, 1, 1, 1]}}
LAB = {  # of scikit-image 0.26, which IEC 61966-2-1 defines
    (255, 0, 0): (53.240588, 80.092308, 67.202751),
    (0, 255, 0): (87.735099, -86.183030, 83.179703),
    (0, 0, 255): (32.295673, 79.185591, -107.857300),
    (255, 255, 255): (100.0, -0.002455, 0.004653),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (12, 200, 99): (71.066900, -63.458226, 38.850321),
    (5, 3, 9): (1.057859, 1.357209, -2.086165),
}


def some_images() -> Tensor:
    return torch.randint(256, (2, 3, 24, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(("rgb", "expected"), LAB.items())
def test_lab_of_known_colours(rgb: tuple[int, ...], expected: tuple[float, ...]) -> None:
    x = torch.tensor(rgb).reshape(1, 3, 1, 1) / 255
    torch.testing.assert_close(lab(x).flatten(), torch.tensor(expected), atol=2e-3, rtol=0)


def test_lab_agrees_with_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    x = some_images()
    expected = torch.from_numpy(color.rgb2lab(x.numpy(), channel_axis=1)).float()
    torch.testing.assert_close(lab(x / 255), expected, atol=2e-3, rtol=0)


def test_ycbcr_agrees_with_pillow_to_its_rounding() -> None:
    x = some_images()
    images = [Image.fromarray(each.permute(1, 2, 0).numpy()).convert("YCbCr") for each in x]
    theirs = torch.from_numpy(np.stack([np.array(image) for image in images])).permute(0, 3, 1, 2).float()
    mine = (scaled_ycbcr(x / 255) + 1) / 2 * 255 + torch.tensor([0.0, 0.5, 0.5]).reshape(1, 3, 1, 1)  # 128, not 127.5
    torch.testing.assert_close(mine, theirs, atol=1.01, rtol=0)


def test_scaled_channels_fill_the_range_and_stay_within_it() -> None:
    steps = torch.linspace(0, 1, 9)
    cube = torch.cartesian_prod(steps, steps, steps).reshape(-1, 3, 1, 1)
    for convert in (scaled_lab, scaled_ycbcr):
        channels = convert(cube)
        torch.testing.assert_close(channels.amax((0, 2, 3)), torch.ones(3), atol=2e-3, rtol=0)
        torch.testing.assert_close(channels.amin((0, 2, 3)), -torch.ones(3), atol=2e-3, rtol=0)


def test_conversion_is_not_rounded_under_autocast() -> None:
    x = some_images() / 255
    with torch.autocast("cpu", torch.bfloat16):
        mixed = scaled_lab(x), scaled_ycbcr(x)
    assert torch.equal(mixed[0], scaled_lab(x))
    assert torch.equal(mixed[1], scaled_ycbcr(x))


def test_each_path_sees_its_channels_alone() -> None:
    model = timm.create_model("colour_paths", num_classes=0, **NARROW).eval()
    x = torch.rand(1, 3, 32, 32)
    lightness, colour = model.split(x)
    assert (lightness.shape[1], colour.shape[1]) == (1, 2)
    expected = torch.cat([model.paths[0](lightness), model.paths[1](colour)], dim=1)
    torch.testing.assert_close(model(x), expected)


def test_pooled_features_have_num_features_numbers() -> None:
    model = timm.create_model("colour_paths", num_classes=0, **NARROW).eval()
    x = torch.rand(2, 3, 32, 32)
    pooled = model(x)
    assert pooled.shape == (2, model.num_features) == (2, 64)
    assert torch.equal(pooled, model.forward_head(model.forward_features(x), pre_logits=True))


def test_feature_info_tells_the_true_channels_and_reductions() -> None:
    model = timm.create_model("colour_paths", features_only=True, **NARROW).eval()
    maps = model(torch.rand(1, 3, 32, 32))
    assert [each.shape[1] for each in maps] == model.feature_info.channels()
    assert [32 // each.shape[-1] for each in maps] == model.feature_info.reduction()


def test_the_classifier_can_be_replaced() -> None:
    model = timm.create_model("colour_paths", num_classes=7, **NARROW)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    model.reset_classifier(0)
    assert isinstance(model.get_classifier(), torch.nn.Identity)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, model.num_features)


def test_intermediates_end_with_the_feature_map() -> None:
    model = timm.create_model("colour_paths", **NARROW).eval()
    x = torch.rand(1, 3, 32, 32)
    final, maps = model.forward_intermediates(x)
    assert len(maps) == 5
    assert torch.equal(final, model.forward_features(x))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"space": "hsv"}, "hsv"), ({"channels": [[0, 1, 2]]}, "channels"), ({"in_chans": 1}, "in_chans")],
)
def test_values_that_cannot_work_are_refused_by_name(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        timm.create_model("colour_paths", **NARROW, **arguments)
