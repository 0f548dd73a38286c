"""The encoders of CPC: their sizes, their normalisation, and timm's own network where timm has it."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

import cpchub.architectures  # noqa: F401  registers the networks
from cpchub.encoders.load import create_model
from cpchub.errors import ArgumentError

TINY = {"layers": [1, 2, 1, 1], "channels": [16, 32, 32, 64], "stem_chs": 8}


def on_meta(name: str) -> Any:
    with torch.device("meta"):
        return timm.create_model(name, num_classes=0)


def size(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["cpc_resnet170", "cpc_resnet161"])
def test_the_encoder_of_the_paper_has_its_303_million_parameters_and_4096_features(name: str) -> None:
    model = on_meta(name)
    assert size(model) == pytest.approx(303.6e6, rel=0.01)
    assert model.num_features == 4096
    assert [len(stage.blocks) for stage in model.stages] == [3, 4, 46]
    assert [stage.blocks[1].conv2.in_channels for stage in model.stages] == [64, 128, 512]


@pytest.mark.parametrize(("name", "features", "blocks"), [("cpc_resnet101", 1024, 30), ("cpc_resnet50", 2048, 16)])
def test_the_smaller_encoders_are_those_of_the_papers(name: str, features: int, blocks: int) -> None:
    model = on_meta(name)
    assert (model.num_features, sum(len(stage.blocks) for stage in model.stages)) == (features, blocks)


def test_its_features_are_those_of_timms_network_with_layer_norm_bit_for_bit() -> None:
    theirs = timm.create_model("resnetv2_50", norm_layer="groupnorm1", num_classes=3, **TINY).eval()
    ours = timm.create_model("cpc_resnet50", num_classes=3, **TINY).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours(x), theirs(x))
    for mine, their in zip(ours.forward_intermediates(x)[1], theirs.forward_intermediates(x)[1], strict=True):
        assert torch.equal(mine, their)


def test_an_image_does_not_depend_on_its_batch_even_in_training() -> None:
    model = timm.create_model("cpc_resnet50", num_classes=0, **TINY).train()
    x = torch.randn(3, 3, 48, 48)
    torch.testing.assert_close(model(x)[:1], model(x[:1]))


def test_a_small_stem_keeps_the_resolution_of_a_small_patch() -> None:
    model = timm.create_model("cpc_resnet20_small", channels=[8, 16, 32], stem_chs=8).eval()
    assert model.forward_features(torch.randn(1, 3, 8, 8)).shape == (1, 32, 2, 2)


def test_a_smaller_output_stride_dilates_the_later_stacks() -> None:
    model = timm.create_model("cpc_resnet50", output_stride=8, **TINY).eval()
    maps = model.forward_intermediates(torch.randn(1, 3, 64, 64), intermediates_only=True)
    assert [64 // each.shape[-1] for each in maps] == [2, 4, 8, 8, 8]
    assert [info["reduction"] for info in model.feature_info] == [2, 4, 8, 8, 8]


def test_dropped_paths_grow_with_the_depth() -> None:
    model = timm.create_model("cpc_resnet50", drop_path_rate=0.4, **TINY)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"layers": [1, 1]}, "layers"),
        ({"bottle_ratio": [0.25, 0.25]}, "bottle_ratio"),
        ({"output_stride": 3}, "output_stride"),
        ({"depth": 50}, "depth"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        create_model("cpc_resnet50", **{**TINY, **arguments})


def test_maps_in_another_layout_are_refused() -> None:
    with pytest.raises(ArgumentError, match="NLC"):
        timm.create_model("cpc_resnet50", **TINY).forward_intermediates(torch.randn(1, 3, 64, 64), output_fmt="NLC")
