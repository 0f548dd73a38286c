"""CMC's encoders: two ResNets whose widths are those of the official code."""

from __future__ import annotations

import pytest
import timm
import torch
from torchvision.models.resnet import Bottleneck, ResNet

import cpchub.architectures  # noqa: F401  registers the networks


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("cmc_resnet18_v1", 512),
        ("cmc_resnet50_v1", 2048),
        ("cmc_resnet50_v2", 4096),
        ("cmc_resnet50_v3", 8192),
        ("cmc_resnet101_v3", 8192),
    ],
)
def test_both_halves_together_have_the_features_of_the_version(name: str, features: int) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    assert model.num_features == features
    assert [half.num_features for half in model.paths] == [features // 2] * 2
    assert [tuple(half.conv1.weight.shape[:2]) for half in model.paths] == [(64, 1), (64, 2)]


def test_a_half_of_version_2_is_a_plain_resnet_50() -> None:
    with torch.device("meta"):
        half = timm.create_model("cmc_resnet50_v2", num_classes=0).paths[1]
        plain = ResNet(Bottleneck, [3, 4, 6, 3])
    expected = {key: value.shape for key, value in plain.state_dict().items() if not key.startswith("fc.")}
    expected["conv1.weight"] = torch.Size([64, 2, 7, 7])
    assert {key: value.shape for key, value in half.state_dict().items()} == expected


def test_a_grey_picture_has_lightness_and_no_colour() -> None:
    args = {"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 32]}
    model = timm.create_model("cmc_resnet18_v1", num_classes=0, path_args=args).eval()
    grey = torch.rand(1, 1, 64, 64).expand(1, 3, 64, 64)
    colour = model.split(grey)[1]
    torch.testing.assert_close(colour, colour[:, :, :1, :1].expand_as(colour), rtol=0, atol=1e-3)
