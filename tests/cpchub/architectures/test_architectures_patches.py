"""A network on a grid of patches: what each cell of the grid sees, and that the weights serve whole images too."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

import cpchub.architectures  # noqa: F401  registers the networks
from cpchub.architectures.patches import on_patches, to_patches
from cpchub.errors import ArgumentError

TINY: dict[str, dict[str, Any]] = {
    "cpc_resnet170": {"layers": [1, 1, 1], "channels": [8, 16, 32], "stem_chs": 8},
    "resnet18_cifar": {"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 32]},
    "simclr_resnet50_1x_sk": {"layers": [1, 1, 1, 1], "width": 0.125},
    "cmc_resnet18_v1": {"path_args": {"layers": [1, 1, 1, 1], "channels": [8, 16, 16, 32]}},
}
GRID = {"patch_size": 32, "patch_stride": 16}  # an image of 64 pixels has 3 x 3 patches


def tiny(name: str, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model(name, **TINY[name], **kwargs).eval()


def test_patches_are_cut_row_by_row_and_overlap() -> None:
    x = torch.arange(2 * 3 * 8 * 10).reshape(2, 3, 8, 10).float()
    patches = to_patches(x, size=4, stride=3)
    assert patches.shape == (2, 2, 3, 3, 4, 4)
    assert torch.equal(patches[1, 1, 2], x[1, :, 3:7, 6:10])


def test_the_geometry_of_the_paper_is_a_grid_of_six_by_six() -> None:
    assert to_patches(torch.zeros(1, 3, 260, 260), size=80, stride=36).shape[1:3] == (6, 6)


@pytest.mark.parametrize("name", TINY)
class TestGrid:
    def test_each_cell_is_the_vector_of_its_own_patch(self, name: str) -> None:
        whole, grid = tiny(name, num_classes=0), tiny(name, num_classes=0, **GRID)
        x = torch.rand(2, 3, 64, 64)
        features = grid.forward_features(x)
        assert features.shape == (2, grid.num_features, 3, 3)
        torch.testing.assert_close(features[:, :, 1, 2], whole(x[:, :, 16:48, 32:64]), rtol=1e-4, atol=1e-5)

    def test_the_pooled_vector_is_the_mean_over_the_grid(self, name: str) -> None:
        model = tiny(name, num_classes=0, **GRID)
        x = torch.rand(1, 3, 64, 64)
        torch.testing.assert_close(model(x), model.forward_features(x).mean((2, 3)))

    def test_one_file_of_weights_serves_both_modes(self, name: str) -> None:
        assert list(tiny(name).state_dict()) == list(tiny(name, **GRID).state_dict())

    def test_intermediates_and_features_only_are_grids_too(self, name: str) -> None:
        x = torch.rand(1, 3, 64, 64)
        final, maps = tiny(name, **GRID).forward_intermediates(x)
        assert torch.equal(final, tiny(name, **GRID).forward_features(x))
        wrapped = tiny(name, features_only=True, **GRID)
        assert wrapped.feature_info.reduction() == [16] * len(maps)
        for mine, theirs in zip(wrapped(x), maps, strict=True):
            assert mine.shape[2:] == (3, 3)
            assert torch.equal(mine, theirs)

    def test_it_exports_as_one_graph(self, name: str) -> None:
        model = tiny(name, num_classes=3, **GRID)
        x = torch.rand(2, 3, 64, 64)
        torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), model(x))

    def test_it_trains(self, name: str) -> None:
        model = tiny(name, num_classes=3, **GRID).train()
        model(torch.rand(2, 3, 64, 64)).sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


class TestAnyNetwork:
    def test_a_network_of_timms_keeps_its_weights_and_its_class(self) -> None:
        plain = timm.create_model("resnet18", num_classes=4, layers=[1, 1, 1, 1], channels=[8, 16, 16, 32]).eval()
        keys, network = list(plain.state_dict()), type(plain)
        x = torch.rand(2, 3, 64, 64)
        expected = plain.forward_features(x[:, :, :32, :32]).mean((2, 3))
        model: Any = on_patches(plain, 32, 16)
        assert model is plain
        assert isinstance(model, network)
        assert list(model.state_dict()) == keys
        assert model(x).shape == (2, 4)
        torch.testing.assert_close(model.forward_features(x)[:, :, 0, 0], expected)

    def test_the_patches_of_a_network_can_be_changed(self) -> None:
        model: Any = on_patches(tiny("resnet18_cifar", **GRID), 16, 16)
        assert model.forward_features(torch.rand(1, 3, 64, 64)).shape[2:] == (4, 4)
        assert {info["reduction"] for info in model.feature_info} == {16}

    def test_a_network_without_feature_maps_is_refused(self) -> None:
        tokens = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=0).eval()
        with pytest.raises(ArgumentError, match="feature maps"):
            on_patches(tokens, 32, 16)(torch.rand(1, 3, 64, 64))
        with pytest.raises(ArgumentError, match="contract"):
            on_patches(nn.Linear(3, 3), 32, 16)


def test_a_size_of_0_means_whole_images() -> None:
    model = tiny("resnet18_cifar", patch_size=0, patch_stride=16)
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(model(x), tiny("resnet18_cifar")(x))


@pytest.mark.parametrize("arguments", [{"patch_size": 32}, {"patch_stride": 16}, {"patch_size": 8, "patch_stride": 0}])
def test_half_a_geometry_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ArgumentError, match="patch_size"):
        tiny("resnet18_cifar", **arguments)


def test_an_image_smaller_than_a_patch_is_refused_with_both_sizes() -> None:
    with pytest.raises(ArgumentError, match=r"16 x 40.*32 x 32"):
        tiny("resnet18_cifar", **GRID)(torch.rand(1, 3, 16, 40))
