"""CMC's encoders: two ResNets whose widths are those of the official code, or the two halves of an AlexNet."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

import cpchub.architectures  # noqa: F401  registers the networks
from cpchub.errors import ArgumentError


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


def test_a_grey_image_has_lightness_and_no_colour() -> None:
    args = {"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 32]}
    model = timm.create_model("cmc_resnet18_v1", num_classes=0, path_args=args).eval()
    grey = torch.rand(1, 1, 64, 64).expand(1, 3, 64, 64)
    colour = model.split(grey)[1]
    torch.testing.assert_close(colour, colour[:, :, :1, :1].expand_as(colour), rtol=0, atol=1e-3)


class TestAlexNet:
    def test_a_half_has_the_layers_of_the_official_code(self) -> None:
        with torch.device("meta"):
            model = timm.create_model("cmc_alexnet", num_classes=0, path_args={"fully_connected": True})
        shapes = {key: tuple(value.shape) for key, value in model.paths[1].state_dict().items() if value.ndim > 1}
        assert shapes == {
            "conv_block_1.0.weight": (48, 2, 11, 11),
            "conv_block_2.0.weight": (128, 48, 5, 5),
            "conv_block_3.0.weight": (192, 128, 3, 3),
            "conv_block_4.0.weight": (192, 192, 3, 3),
            "conv_block_5.0.weight": (128, 192, 3, 3),
            "fc6.0.weight": (2048, 4608),
            "fc7.0.weight": (2048, 2048),
        }
        assert (model.num_features, model.head_hidden_size) == (256, 4096)

    def test_its_features_are_those_of_the_plain_layers_bit_for_bit(self) -> None:
        model: Any = timm.create_model("cmc_alexnet", num_classes=0, path_args={"fully_connected": True}).eval()
        plain = nn.ModuleList(plain_half(channels) for channels in (1, 2)).eval()
        for half, layers in zip(model.paths, plain, strict=True):
            layers.load_state_dict(dict(zip(layers.state_dict(), half.state_dict().values(), strict=True)))
        x = torch.rand(2, 3, 224, 224)
        expected = [layers(part) for layers, part in zip(plain, model.split(x), strict=True)]
        assert torch.equal(model(x), torch.cat(expected, dim=1))

    def test_the_map_of_an_image_of_224_pixels_is_6_by_6(self) -> None:
        model = timm.create_model("cmc_alexnet", num_classes=0).eval()
        maps = model.forward_intermediates(torch.rand(1, 3, 224, 224), intermediates_only=True)
        assert [tuple(each.shape[1:]) for each in maps] == [
            (96, 27, 27),
            (256, 13, 13),
            (384, 13, 13),
            (384, 13, 13),
            (256, 6, 6),
        ]

    def test_a_classifier_and_other_sizes_go_with_the_fully_connected_layers(self) -> None:
        args = {"width": 0.0625, "fully_connected": True}
        model: Any = timm.create_model("cmc_alexnet", num_classes=3, path_args=args).eval()
        assert model(torch.rand(2, 3, 96, 160)).shape == (2, 3)
        wrapped = timm.create_model("cmc_alexnet", features_only=True, path_args=args)
        assert not [key for key in wrapped.state_dict() if "fc" in key]

    def test_the_fully_connected_layers_do_not_read_patches(self) -> None:
        with pytest.raises(ArgumentError, match="whole images"):
            timm.create_model(
                "cmc_alexnet", patch_size=64, patch_stride=32, path_args={"fully_connected": True, "width": 0.0625}
            )

    def test_a_width_that_cannot_work_is_refused(self) -> None:
        with pytest.raises(ArgumentError, match=r"0\.3"):
            timm.create_model("alexnet_bn", width=0.3)


def plain_half(channels: int) -> nn.Sequential:
    """The half in plain layers, in the order of the paper's table."""

    def convolution(before: int, after: int, *geometry: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, *geometry, bias=False), nn.BatchNorm2d(after), nn.ReLU()]

    def dense(before: int, after: int) -> list[nn.Module]:
        return [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]

    return nn.Sequential(
        *convolution(channels, 48, 11, 4, 2),
        nn.MaxPool2d(3, 2),
        *convolution(48, 128, 5, 1, 2),
        nn.MaxPool2d(3, 2),
        *convolution(128, 192, 3, 1, 1),
        *convolution(192, 192, 3, 1, 1),
        *convolution(192, 128, 3, 1, 1),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        *dense(128 * 36, 2048),
        *dense(2048, 2048),
    )
