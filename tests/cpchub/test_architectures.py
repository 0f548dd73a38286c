"""Every network we register keeps timm's contract."""

from __future__ import annotations

import pytest
import timm
import torch

import cpchub.architectures
from cpchub.encoder import create_model
from cpchub.errors import ArgumentError

OURS = timm.list_models(module="cifar_resnet")
NARROW = {"channels": [8, 16, 16, 32], "layers": [1, 1, 1, 1]}


def test_importing_the_package_registers_the_networks() -> None:
    assert "resnet18_cifar" in OURS
    assert cpchub.architectures.cifar_resnet.__name__.endswith("cifar_resnet")


@pytest.mark.parametrize("name", OURS)
class TestContract:
    def test_pooled_features_have_num_features_numbers(self, name: str) -> None:
        model = timm.create_model(name, num_classes=0, **NARROW).eval()
        x = torch.randn(2, 3, 32, 32)
        pooled = model(x)
        assert pooled.shape == (2, model.num_features)
        assert torch.equal(pooled, model.forward_head(model.forward_features(x), pre_logits=True))

    def test_feature_info_tells_the_true_channels_and_reductions(self, name: str) -> None:
        model = timm.create_model(name, features_only=True, **NARROW).eval()
        maps = model(torch.randn(1, 3, 32, 32))
        assert [each.shape[1] for each in maps] == model.feature_info.channels()
        assert [32 // each.shape[-1] for each in maps] == model.feature_info.reduction() == [1, 1, 2, 4, 8]

    def test_the_classifier_can_be_replaced(self, name: str) -> None:
        model = timm.create_model(name, num_classes=7, **NARROW)
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 7)
        model.reset_classifier(0)
        assert isinstance(model.get_classifier(), torch.nn.Identity)
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, model.num_features)

    def test_it_takes_one_channel_and_it_trains(self, name: str) -> None:
        model = timm.create_model(name, in_chans=1, num_classes=3, **NARROW)
        model(torch.randn(2, 1, 32, 32)).sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())

    def test_intermediates_end_with_the_feature_map(self, name: str) -> None:
        model = timm.create_model(name, **NARROW).eval()
        x = torch.randn(1, 3, 32, 32)
        final, maps = model.forward_intermediates(x)
        assert len(maps) == 5
        assert torch.equal(final, model.forward_features(x))


def test_the_plain_stem_is_one_3x3_convolution_without_pooling() -> None:
    model = create_model("resnet18_cifar")
    assert model.conv1.kernel_size == (3, 3)
    assert model.conv1.stride == (1, 1)
    assert isinstance(model.maxpool, torch.nn.Identity)


def test_the_deep_stem_keeps_the_resolution_too() -> None:
    model = create_model("resnet18_cifar", stem_type="deep", stem_width=8, **NARROW)
    assert model.forward_features(torch.randn(1, 3, 32, 32)).shape[-1] == 4


def test_stem_padding_of_two_adds_two_pixels() -> None:
    model = create_model("resnet18_cifar", stem_padding=2, **NARROW)
    maps = model.forward_intermediates(torch.randn(1, 3, 32, 32), intermediates_only=True)
    assert maps[0].shape[-1] == 34


def test_a_smaller_output_stride_dilates_instead() -> None:
    model = create_model("resnet18_cifar", output_stride=4, **NARROW)
    assert model.forward_features(torch.randn(1, 3, 32, 32)).shape[-1] == 8


@pytest.mark.parametrize("arguments", [{"stem_padding": 3}, {"output_stride": 32}])
def test_values_that_cannot_work_are_refused_by_name(arguments: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        create_model("resnet18_cifar", **arguments)
